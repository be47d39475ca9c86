// promise: P10
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ExecutionDocument } from '../../src/protocol/execution-document.ts';
import { newId } from '../../src/protocol/ids.ts';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import { SCHEMA_VERSION } from '../../src/storage/sqlite/schema.ts';
import { openSqliteStorage } from '../../src/storage/sqlite/sqlite-storage.ts';
import type { ExecutionRecord, Storage } from '../../src/storage/storage.ts';
import {
  FINISHED,
  NEW_EVENT,
  nextExecution,
  QUEUED,
  RUNNING,
  SESSION,
  toNextRedis,
  toNextSqlite,
} from '../fixtures/records/next-version.ts';
import { has } from '../support/capabilities.ts';
import { eventOf, executionOf, finishOf, recordOf, SUCCEEDED } from '../support/execution-records.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude } from '../support/processes.ts';
import { redisServer } from '../support/redis-server.ts';
import { ROOT } from '../support/source-files.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const RECORDS = join(ROOT, 'test/fixtures/records');
const ALL = { after: 0, limit: 100, maxBytes: 1024 * 1024 };

/** A store that another version wrote, and a look at it with this version's own eyes closed. */
interface Store {
  open(): Promise<Storage>;
  /** What the store says about its layout. */
  mark(): Promise<unknown>;
  /** What the next version alone knows of an execution: its score, and whether it has a plan. */
  known(id: string): Promise<{ score: unknown; plan: boolean }>;
}

/** Closed when the running test ends. */
async function opened({ open }: Store): Promise<Storage> {
  const storage = await open();
  onTestFinished(() => storage.close());
  return storage;
}

type SqliteStore = Store & { file: string };

async function sqliteOfLayout1(): Promise<SqliteStore> {
  const dataDirectory = await temporaryFolder();
  const file = join(dataDirectory, 'store.sqlite');
  await copyFile(join(RECORDS, 'sqlite-layout-1/store.sqlite'), file);
  const look = <T>(use: (db: DatabaseSync) => T): T => {
    const db = new DatabaseSync(file, { readOnly: true });
    try {
      return use(db);
    } finally {
      db.close();
    }
  };
  return {
    file,
    open: () => openSqliteStorage({ dataDirectory }),
    mark: async () => look((db) => db.prepare('PRAGMA user_version').get()?.user_version),
    known: async (id) =>
      look((db) => ({
        score: db.prepare('SELECT score FROM executions WHERE id = ?').get(id)?.score,
        plan: db.prepare('SELECT 1 FROM plans JOIN executions USING (log) WHERE id = ?').get(id) !== undefined,
      })),
  };
}

async function sqliteOfNextLayout(readableFrom: number | undefined): Promise<SqliteStore> {
  const store = await sqliteOfLayout1();
  await (await store.open()).close();
  toNextSqlite(store.file, readableFrom);
  return store;
}

type RedisStore = Store & { command: Awaited<ReturnType<typeof redisServer>>['command'] };

async function redisOfLayout1(): Promise<RedisStore> {
  const { url, command } = await redisServer();
  const lines = (await readFile(join(RECORDS, 'redis-layout-1.jsonl'), 'utf8')).trim().split('\n');
  for (const line of lines) {
    const [name, ...args]: string[] = JSON.parse(line);
    await command(name ?? '', ...args);
  }
  return {
    command,
    open: () => openRedisStorage({ url }),
    mark: () => command('GET', 'cce:schema'),
    known: async (id) => ({
      score: await command('HGET', `cce:execution:${id}`, 'score'),
      plan: (await command('EXISTS', `cce:plan:${id}`)) === 1,
    }),
  };
}

async function redisOfNextLayout(mark: string): Promise<RedisStore> {
  const store = await redisOfLayout1();
  await toNextRedis(store.command, mark);
  return store;
}

async function recordIn(storage: Storage, id: string): Promise<ExecutionRecord> {
  const record = await storage.getExecution('local', id);
  if (record === undefined) throw new Error(`there is no ${id}`);
  return record;
}

/** Another instance takes it over, and ends it with event `seq`. */
async function end(storage: Storage, id: string, seq: number): Promise<void> {
  const taken = await storage.takeOver(id, 1, 'instance-next');
  if (taken === undefined) throw new Error(`${id} was not taken over`);
  await storage.append(finishOf(taken, seq));
}

function describeOld(adapter: string, layout1: () => Promise<Store>): void {
  describe(`${adapter}: a store of layout 1`, () => {
    test('every record, event and session is read as it was written', async () => {
      const storage = await opened(await layout1());
      const { execution, request, ...rest } = await recordIn(storage, FINISHED);
      const directory = `/data/workspaces/local/${FINISHED}`;
      const owner = { tenant: 'local', keyId: null, instanceId: 'instance-old', fence: 1 };
      expect(rest).toEqual({ ...owner, directory, fresh: true, runId: FINISHED, requestHash: 'hash-1' });
      expect(request).toMatchObject({ prompt: 'Say hello.', idempotencyKey: 'first', priority: 50, repairTurns: 1 });
      expect(execution).toMatchObject({
        ...{ id: FINISHED, state: 'finished', lastSeq: 4, partialText: 'Hello', metadata: { team: 'blue' } },
        ...{ outcome: { kind: 'failed', reason: 'max_turns', exitCode: 1 }, result: { usage: { costUsd: 0.001 } } },
      });
      const { events } = await storage.readEvents(FINISHED, ALL);
      const types = ['execution.queued', 'execution.started', 'claude.delta', 'execution.finished'];
      expect(events.map(({ type }) => type)).toEqual(types);
      expect(events.map(({ bytes }) => JSON.parse(bytes).seq)).toEqual([1, 2, 3, 4]);
      const session = { id: SESSION, directory, fresh: true, configDirectory: `/data/sessions/${SESSION}` };
      expect(await storage.getSession('local', SESSION)).toMatchObject(session);
      const unfinished = await storage.listUnfinished();
      expect(unfinished.map(({ id, state }) => [id, state])).toEqual([
        [QUEUED, 'queued'],
        [RUNNING, 'running'],
      ]);
      const [queued, running] = [
        await storage.getExecution('local', QUEUED),
        await storage.getExecution('local', RUNNING),
      ];
      expect([queued?.fresh, running?.fresh]).toEqual([true, false]);
      expect(queued?.request).toMatchObject({ sessionId: SESSION, env: { COLOUR: 'blue' }, priority: 80 });
    });

    test('what waited goes on to its end, idempotency keys hold, and what is deleted takes all it had', async () => {
      const storage = await opened(await layout1());
      const { created, record } = await storage.createExecution(recordOf({ idempotencyKey: 'first' }), eventOf(1));
      expect([created, record.execution.id]).toEqual([false, FINISHED]);
      await end(storage, QUEUED, 2);
      await end(storage, RUNNING, 2);
      expect((await recordIn(storage, QUEUED)).execution).toMatchObject({ state: 'finished', outcome: SUCCEEDED });
      for (const id of [RUNNING, FINISHED]) {
        expect(await storage.deleteExecution('local', id)).toEqual({ executions: [id], directories: [], sessions: [] });
      }
      expect(await storage.deleteExecution('local', QUEUED)).toMatchObject({
        executions: [QUEUED],
        directories: [`/data/workspaces/local/${FINISHED}`],
        sessions: [{ id: SESSION }],
      });
    });
  });
}

/** `readable`: a store of the next layout that this version may use; `unreadable`: ones that it may not. */
function describeNext(
  adapter: string,
  next: { mark: unknown; readable: () => Promise<Store>; unreadable: (() => Promise<Store>)[] },
): void {
  describe(`${adapter}: a store of the next layout`, () => {
    test('one that is readable from this layout on is opened, read, and left in its layout', async () => {
      const store = await next.readable();
      const storage = await opened(store);
      const executions = [FINISHED, QUEUED, RUNNING].map(async (id) => (await recordIn(storage, id)).execution);
      for (const execution of await Promise.all(executions)) {
        expect(execution).toEqual(nextExecution(execution.id, execution));
      }
      expect((await recordIn(storage, FINISHED)).execution.outcome).toMatchObject({ kind: 'expired', by: 'x' });
      expect((await recordIn(storage, QUEUED)).request).toMatchObject({
        ...{ permissionMode: 'askFirst', planning: { depth: 3 }, env: { NODE_OPTIONS: '--inspect' }, priority: 80 },
      });
      const listed = await storage.listExecutions({ tenant: 'local', limit: 10 });
      expect(listed.executions.map(({ id, state }) => [id, state])).toEqual([
        [RUNNING, 'suspended'],
        [QUEUED, 'queued'],
        [FINISHED, 'finished'],
      ]);
      expect((await storage.listUnfinished()).map(({ id }) => id)).toEqual([QUEUED, RUNNING]);
      expect((await storage.readEvents(RUNNING, ALL)).events[1]).toEqual(NEW_EVENT);
      const stored = await storage.readExecution('local', FINISHED);
      expect(JSON.parse(stored?.json ?? '')).toMatchObject({ score: 7, outcome: { reason: 'plan_refused' } });
      await storage.close();
      expect(await store.mark()).toBe(next.mark);
    });

    test('what this version writes there keeps what the next one had written beside it', async () => {
      const store = await next.readable();
      const storage = await opened(store);
      await end(storage, QUEUED, 2);
      await end(storage, RUNNING, 3);
      const session = await storage.getSession('local', SESSION);
      if (session === undefined) throw new Error('there is no session');
      const id = newId();
      const used = { ...session, lastUsedAt: '2030-01-01T00:00:00.000Z' };
      await storage.createExecution(recordOf({ execution: { id, sessionId: SESSION } }), eventOf(1), { session: used });
      expect((await recordIn(storage, QUEUED)).execution).toMatchObject({ labels: ['a', 'b'], isolation: 'L4' });
      expect((await storage.listExecutions({ tenant: 'local', state: 'finished', limit: 10 })).executions).toHaveLength(
        3,
      );
      expect(await storage.getSession('local', SESSION)).toEqual(used);
      for (const known of [FINISHED, QUEUED, RUNNING]) {
        const { score, plan } = await store.known(known);
        expect([Number(score), plan]).toEqual([7, true]);
      }
      await storage.deleteExecution('local', FINISHED);
      expect(await storage.getExecution('local', FINISHED)).toBeUndefined();
    });

    test('one that is not is refused and left as it is', async () => {
      for (const unreadable of next.unreadable) {
        const store = await unreadable();
        const mark = await store.mark();
        await expect(store.open()).rejects.toMatchObject({ code: 'storage_newer' });
        expect(await store.mark()).toBe(mark);
      }
    });
  });
}

describeOld('SQLite', sqliteOfLayout1);
describeNext('SQLite', {
  mark: SCHEMA_VERSION + 1,
  readable: () => sqliteOfNextLayout(SCHEMA_VERSION),
  unreadable: [() => sqliteOfNextLayout(SCHEMA_VERSION + 1), () => sqliteOfNextLayout(undefined)],
});

test('SQLite: what a later table keeps of an execution goes with it, and a new execution has the default', async () => {
  const store = await sqliteOfNextLayout(SCHEMA_VERSION);
  const storage = await opened(store);
  const { execution } = (await storage.createExecution(recordOf(), eventOf(1))).record;
  await storage.deleteExecution('local', FINISHED);
  expect(await store.known(execution.id)).toEqual({ score: 5, plan: false });
  expect(await store.known(FINISHED)).toEqual({ score: undefined, plan: false });
});

test('a service that is rolled back ends what a dead later one ran, starts nothing it does not know, and serves the rest', async () => {
  const folder = await temporaryFolder();
  const store = await sqliteOfNextLayout(SCHEMA_VERSION);
  await mkdir(join(folder, 'data'));
  await copyFile(store.file, join(folder, 'data', 'store.sqlite'));
  const env = { CC_RETENTION_DAYS: '36500', CC_RECORD_RETENTION_DAYS: '36500', CLAUDE_BIN: fakeClaude('succeeds') };
  const { service, follow } = await executor({ folder, env });
  const { execution, events } = await follow(RUNNING);
  expect(execution).toMatchObject({ state: 'finished', outcome: { kind: 'lost' }, isolation: 'L4', lastSeq: 3 });
  expect(events.map(({ type }) => type)).toEqual(['execution.queued', 'plan.proposed', 'execution.finished']);
  const served = await service.executions.getJson(FINISHED, { tenant: 'local' });
  expect(JSON.parse(served)).toMatchObject({ score: 7, outcome: { kind: 'expired', reason: 'plan_refused' } });
  expect(await service.executions.get(QUEUED, { tenant: 'local' })).toMatchObject({
    state: 'queued',
    labels: ['a', 'b'],
  });
});

describe.runIf(has('redis'))('with a redis-server', () => {
  describeOld('Redis', redisOfLayout1);
  describeNext('Redis', {
    mark: '2 readable from 1',
    readable: () => redisOfNextLayout('2 readable from 1'),
    unreadable: [() => redisOfNextLayout('3 readable from 2'), () => redisOfNextLayout('2')],
  });

  test('Redis: the state of a later version is given on, and a session keeps what that version adds', async () => {
    const storage = await opened(await redisOfNextLayout('2 readable from 1'));
    expect(await storage.readExecution('local', RUNNING)).toMatchObject({ state: 'suspended' });
    expect(await storage.getSession('local', SESSION)).toMatchObject({ title: 'greetings' });
  });

  test('Redis: a mark of another form is another program’s', async () => {
    const store = await redisOfNextLayout('2 readable');
    await expect(store.open()).rejects.toMatchObject({ code: 'storage_unavailable' });
  });
});

test('a document that lacks what came later has it empty, and one without its names is damaged', () => {
  const execution = executionOf({ isolation: 'L1' });
  const { id, state, workspace, model, attempt, timeLimit, lastSeq, createdAt, sessionId } = execution;
  const first = { id, state, workspace, model, attempt, timeLimit, lastSeq, createdAt, sessionId };
  expect(ExecutionDocument.parse(first)).toEqual(execution);
  expect(ExecutionDocument.safeParse({ ...first, id: undefined }).success).toBe(false);
  expect(ExecutionDocument.safeParse({ ...first, state: 7 }).success).toBe(false);
});
