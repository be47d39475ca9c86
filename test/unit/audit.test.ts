import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { auditDraft } from '../../src/audit/audit-draft.ts';
import { AuditLog } from '../../src/audit/audit-log.ts';
import { type AuditDraft, CHAIN_START, chainEntries, verifyChain } from '../../src/protocol/audit.ts';
import { ServiceError } from '../../src/protocol/errors.ts';
import { waitUntil } from '../support/processes.ts';

const drafts = (count: number): AuditDraft[] =>
  Array.from({ length: count }, (_, index) =>
    auditDraft({ tenant: 'local' }, { action: 'key.create', subject: `${index}` }),
  );
const textsOf = (count: number): string[] => chainEntries(drafts(count), CHAIN_START).lines.map(({ text }) => text);

test('a whole chain is whole, from its start and from any entry on', async () => {
  const { lines, last } = chainEntries(drafts(5), CHAIN_START);
  const texts = lines.map(({ text }) => text);
  expect(await verifyChain(texts, CHAIN_START)).toEqual({ entries: 5, last });
  expect(await verifyChain(texts.slice(2))).toEqual({ entries: 3, last });
  expect(await verifyChain([])).toEqual({ entries: 0, last: CHAIN_START });
});

test.each<[string, (texts: string[]) => string[], RegExp]>([
  [
    'an entry was changed',
    (texts) => texts.map((text) => text.replace('"subject":"1"', '"subject":"9"')),
    /entry 2 is not the one/,
  ],
  ['an entry was taken out', (texts) => texts.filter((_, index) => index !== 1), /entry 2 is missing; 3 stands/],
  ['two entries changed places', ([a = '', b = '', ...rest]) => [b, a, ...rest], /entry 1 is missing/],
  ['an entry stands twice', ([a = '', ...rest]) => [a, a, ...rest], /entry 2 is missing; 1 stands/],
  ['the first was taken out', (texts) => texts.slice(1), /entry 1 is missing/],
  ['a space was added', ([a = '', ...rest]) => [`${a} `, ...rest], /entry 1 is not the one/],
  ['a line is no JSON', (texts) => [...texts, '{'], /line 4 is no entry/],
  ['a line is another object', (texts) => [...texts, '{"seq":4}'], /line 4 is no entry/],
])('where %s, that is found', async (_title, tamper, problem) => {
  expect(await verifyChain(tamper(textsOf(3)), CHAIN_START)).toEqual({ problem: expect.stringMatching(problem) });
});

/** A store that takes entries, or is away. */
function store() {
  const state = { away: false, batches: [] as (readonly AuditDraft[])[], log: [] as string[] };
  const told = (fields: object, message: string): void => void state.log.push(`${message} ${JSON.stringify(fields)}`);
  const appendAudit = async (batch: readonly AuditDraft[]): Promise<void> => {
    await delay(1);
    if (state.away) throw new ServiceError('storage_unavailable', 'away');
    state.batches.push(batch);
  };
  const audit = new AuditLog({ appendAudit }, { error: told, warn: told } as never);
  const subjects = (): unknown[] => state.batches.flat().map(({ action, subject }) => subject ?? action);
  return { state, audit, subjects };
}

test('an entry is stored when it is recorded, and those that come together are stored together', async () => {
  const { state, audit, subjects } = store();
  await audit.record({}, { action: 'key.create', subject: 'a' });
  expect(subjects()).toEqual(['a']);
  await Promise.all(['b', 'c', 'd'].map((subject) => audit.record({}, { action: 'key.create', subject })));
  expect(subjects()).toEqual(['a', 'b', 'c', 'd']);
  expect(state.batches).toHaveLength(3);
});

test('while the store is away nothing waits for it, and all is stored in order when it is back', async () => {
  const { state, audit, subjects } = store();
  state.away = true;
  await audit.record({}, { action: 'key.create', subject: 'a' });
  await audit.record({}, { action: 'key.create', subject: 'b' });
  state.away = false;
  await waitUntil('the entries to be stored', () => subjects().length === 2);
  expect(subjects()).toEqual(['a', 'b']);
});

test('what is more than memory holds is counted, and the gap is an entry', async () => {
  const { state, audit, subjects } = store();
  state.away = true;
  await Promise.all(drafts(10_003).map((draft) => audit.add(draft)));
  state.away = false;
  await waitUntil('the gap to be stored', () => subjects().includes('audit.gap'));
  expect(state.batches.flat().find(({ action }) => action === 'audit.gap')?.detail).toEqual({ entries: '3' });
});

test('the end stores what waits, and says what could not be stored', async () => {
  const { state, audit } = store();
  state.away = true;
  await audit.record({}, { action: 'key.create', subject: 'a' });
  await audit.close();
  expect(state.log.at(-1)).toBe('entries of the audit log could not be stored {"entries":1}');
});

test('what is refused is an entry with its code, and of a flood some are, with the number of the others', async () => {
  const { state, audit } = store();
  const refuse = (): Promise<void> =>
    audit.refused({}, { action: 'execution.start' }, new ServiceError('too_many', 'x'));
  for (let time = 0; time < 105; time += 1) await refuse();
  await audit.refused({}, { action: 'execution.start' }, new ServiceError('invalid_request', 'x'));
  expect(state.batches.flat()).toHaveLength(100);
  expect(new Set(state.batches.flat().map(({ outcome }) => outcome))).toEqual(new Set(['too_many']));
});
