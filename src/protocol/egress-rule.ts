import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { type Host, parseAuthority, showHost } from './host-name.ts';

/** The ports of an entry that names none. */
const USUAL_PORTS: readonly number[] = [443, 80];
const WILDCARD = '*.';

/** What one entry lets through: a host, or with `below` the names below it; on one port, or on the usual two. */
interface EgressRule {
  host: Host;
  below: boolean;
  port: number | undefined;
}

/** The hosts that a run may reach: those of a list, or `open` for any that is public. */
export type EgressList = readonly string[] | 'open';

/** An entry of an egress list: `example.org`, `*.example.org`, either with `:port`, or a literal address. */
export const EgressEntry = z
  .string()
  .max(260)
  .superRefine((entry, context) => {
    const problem = problemOf(entry);
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
  });

export const MAX_EGRESS_ENTRIES = 100;

/** Whether a list lets a host through on a port. */
export function listAllows(list: EgressList, host: Host, port: number): boolean {
  if (list === 'open') return true;
  return list.some((entry) => {
    const rule = ruleOf(entry);
    return rule !== undefined && matches(rule, host) && portMatches(rule, port);
  });
}

function ruleOf(entry: string): EgressRule | undefined {
  const below = entry.startsWith(WILDCARD);
  const authority = parseAuthority(below ? entry.slice(WILDCARD.length) : entry);
  return authority === undefined ? undefined : { ...authority, below };
}

function matches({ host, below }: EgressRule, asked: Host): boolean {
  if (!below) return showHost(host) === showHost(asked);
  return host.kind === 'name' && asked.kind === 'name' && asked.name.endsWith(`.${host.name}`);
}

function portMatches({ port }: EgressRule, asked: number): boolean {
  return port === undefined ? USUAL_PORTS.includes(asked) : port === asked;
}

function problemOf(entry: string): string | undefined {
  if (/[^\x21-\x7e]/.test(entry)) {
    const ascii = domainToASCII(entry);
    return ascii === '' ? 'is not a host name' : `is not ASCII; write ${ascii}`;
  }
  if (entry.includes('/')) return 'is a URL; write the host alone, such as example.org or example.org:8443';
  const rule = ruleOf(entry);
  if (rule === undefined)
    return 'is not a host; write example.org, *.example.org, 192.0.2.1 or [2001:db8::1], with :port if need be';
  const { host, below } = rule;
  if (below && (host.kind === 'address' || !host.name.includes('.'))) return 'is too wide; write *.example.org';
  return undefined;
}
