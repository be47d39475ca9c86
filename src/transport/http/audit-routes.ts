import { Readable } from 'node:stream';
import { requireOperator } from '../../auth/principal.ts';
import { AuditEntry, type AuditSlice, MAX_AUDIT_ENTRIES } from '../../protocol/audit.ts';
import type { Door, ReadAudit } from '../door.ts';
import { principalOf, type Routes, wants } from './routes.ts';

/** A part of a chain proves nothing. */
const OF_ALL_TENANTS =
  'The audit log is of all tenants, and read by the operator alone: with an admin key of the tenant local';

/** The audit log: pages of it, or all that comes after an entry, as it is stored. */
export function auditRoutes({ readAudit }: Pick<Door, 'readAudit'>): Pick<Routes, 'readAudit'> {
  return {
    readAudit: async (call) => {
      requireOperator(principalOf(call), OF_ALL_TENANTS);
      const { after, limit } = call.query;
      if (wants(call.request, 'application/x-ndjson')) {
        const first = await readAudit({ after, limit: MAX_AUDIT_ENTRIES });
        call.reply.type('application/x-ndjson; charset=utf-8').header('cache-control', 'no-store');
        return Readable.from(exported(readAudit, { after, first }));
      }
      const { texts, last, cut } = await readAudit({ after, limit });
      const entries = texts.map((text) => AuditEntry.parse(JSON.parse(text)));
      return { entries, nextAfter: entries.at(-1)?.seq ?? after, last, cut };
    },
  };
}

/** Up to the newest entry of the moment when it began. */
async function* exported(
  readAudit: ReadAudit,
  { after, first }: { after: number; first: AuditSlice },
): AsyncGenerator<string, void, void> {
  const end = first.last.seq;
  let [texts, at] = [first.texts, Math.max(after, first.cut.seq)];
  while (texts.length > 0 && at < end) {
    const taken = texts.slice(0, end - at);
    yield `${taken.join('\n')}\n`;
    at += taken.length;
    ({ texts } = await readAudit({ after: at, limit: MAX_AUDIT_ENTRIES }));
  }
}
