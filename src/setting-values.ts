import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { EgressEntry, type EgressList, MAX_EGRESS_ENTRIES } from './protocol/egress-rule.ts';
import type { LentWorkspaces } from './protocol/lent-workspaces.ts';
import { OPERATOR_TENANT } from './protocol/tenant.ts';

/** A whole number, both ends included. */
export const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, { error: 'is not a whole number' })
    .transform(Number)
    .pipe(z.int().min(min).max(max));

export const milliseconds = whole(1, 30 * 24 * 3600 * 1000);
export const MiB = 1024 * 1024;

export const dollars = z
  .string()
  .regex(/^\d{1,9}(\.\d{1,6})?$/, { error: 'is not an amount such as 20 or 0.5' })
  .transform(Number);

export const upstreamUrl = z.url({ protocol: /^https?$/, error: 'is not an http or https URL' });

/** `name=/path` for the operator's own tenant, `name@tenant=/path` for another. */
const LENT = /^([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([a-z0-9][a-z0-9._-]{0,62}))?=(\/.*)$/;

export const lentWorkspaces = z.string().transform((value, context): LentWorkspaces => {
  const lent: Record<string, Record<string, string>> = {};
  for (const entry of value.split(',').map((part) => part.trim())) {
    if (entry === '') continue;
    const [, name, tenant = OPERATOR_TENANT, path] = LENT.exec(entry) ?? [];
    if (name === undefined || path === undefined) {
      const message = `has the entry ${entry}; write name=/absolute/path or name@tenant=/absolute/path, separated by commas`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
    lent[tenant] = { ...lent[tenant], [name]: path };
  }
  return lent;
});

export const absolutePaths = z.string().transform((value, context) => {
  const listed = value.split(',').map((part) => part.trim());
  const wrong = listed.find((part) => !isAbsolute(part));
  if (wrong !== undefined) {
    context.addIssue({ code: 'custom', message: `has the entry ${wrong}; write absolute paths, separated by commas` });
    return z.NEVER;
  }
  return listed;
});

export const origins = z.string().transform((value, context) => {
  const listed = value.split(',').map((part) => part.trim());
  const wrong = listed.find((part) => part !== '*' && !(URL.canParse(part) && new URL(part).origin === part));
  if (wrong !== undefined) {
    context.addIssue({
      code: 'custom',
      message: `has the entry ${wrong}; an origin is scheme://host, with a port where it has one`,
    });
    return z.NEVER;
  }
  return listed;
});

export const proxies = z.string().transform((value, context) => {
  if (value === 'on' || value === 'off') return value === 'on';
  const listed = value.split(',').map((part) => part.trim());
  const wrong = listed.find(
    (part) => !/^[0-9a-f.:]+(\/\d{1,3})?$/i.test(part) || isIP(part.split('/', 1)[0] ?? '') === 0,
  );
  if (wrong !== undefined) {
    context.addIssue({
      code: 'custom',
      message: `has the entry ${wrong}; write off, on, or addresses such as 10.0.0.0/8`,
    });
    return z.NEVER;
  }
  return listed;
});

function listed(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

export const egress = z.string().transform((value, context): EgressList => {
  if (value === 'open') return 'open';
  const entries = value === 'none' ? [] : listed(value);
  for (const entry of entries) {
    const { error } = EgressEntry.safeParse(entry);
    if (error !== undefined) {
      context.addIssue({ code: 'custom', message: `has the entry ${entry}, which ${error.issues[0]?.message}` });
    }
  }
  if (entries.length > MAX_EGRESS_ENTRIES) {
    context.addIssue({ code: 'custom', message: `has more than ${MAX_EGRESS_ENTRIES} entries` });
  }
  return entries;
});

export const addresses = z.string().transform((value, context) => {
  const entries = listed(value);
  const wrong = entries.find((entry) => {
    const [address = '', bits] = entry.split('/', 2);
    const width = isIP(address) === 4 ? 32 : isIP(address) === 6 && !address.includes('%') ? 128 : -1;
    return width === -1 || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= width));
  });
  if (wrong !== undefined) {
    context.addIssue({ code: 'custom', message: `has the entry ${wrong}; write addresses such as 10.0.0.0/8 or ::1` });
    return z.NEVER;
  }
  return entries;
});
