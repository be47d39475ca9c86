// promise: P3, P4, P5
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { findMarked, RUN_MARKER } from '../../src/isolation/marker-sweep.ts';
import { newId } from '../../src/protocol/ids.ts';
import { has } from '../support/capabilities.ts';
import { type Executor, type ExecutorOptions, executor } from '../support/executor.ts';
import { fakeClaude, waitUntil } from '../support/processes.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const CALLER = { tenant: 'local' };
const text = (words: string) => ({ kind: 'text' as const, text: words });
const STALL = [{ kind: 'stall' as const, when: 'mid_stream' as const, text: 'so far so good' }];
const bash = (command: string) => ({
  kind: 'tool_use' as const,
  tools: [{ name: 'Bash', input: { command, description: 'x' } }],
});

type Kind = 'fresh' | 'named';

/** An executor with one process started ahead. */
async function warm(options: ExecutorOptions = {}): Promise<
  Executor & {
    /** Resolves with the name of a process of a kind that waits and that was not named before. */
    ready(kind?: Kind): Promise<string>;
    runIdOf(id: string): Promise<string>;
  }
> {
  const made = await executor({ warmPool: 1, ...options });
  const seen = new Set<string>();
  const fresh = (kind: Kind): string | undefined =>
    made.service.warm.ready().find((spare) => spare.kind === kind && !seen.has(spare.runId))?.runId;
  const ready = async (kind: Kind = 'fresh'): Promise<string> => {
    const runId = await waitUntil(`a ${kind} process waits`, () => fresh(kind));
    seen.add(runId);
    return runId;
  };
  const runIdOf = async (id: string): Promise<string> =>
    (await made.service.storage.getExecution('local', id))?.runId ?? '';
  return { ...made, ready, runIdOf };
}

const marked = (runId: string): Promise<number[]> => findMarked({ name: RUN_MARKER, value: runId });
const leftIn = (folder: string, kind: string): Promise<string[]> => readdir(join(folder, 'data', kind)).catch(() => []);

it('a run is served by the process that waited, in its workspace, and its log is like that of a cold one', async () => {
  const script = () => text('Hello');
  const cold = await executor({ script });
  const { run, ready, runIdOf, folder } = await warm({ script });
  const waiting = await ready();
  const { execution, events } = await run({ prompt: 'x' });
  expect(execution.outcome).toMatchObject({ kind: 'succeeded', exitCode: 0 });
  expect(execution.result?.text).toBe('Hello');
  expect(await runIdOf(execution.id)).toBe(waiting);
  expect(execution.workspace).toBe(waiting);
  expect(execution.id).not.toBe(waiting);
  expect(existsSync(join(folder, 'data/workspaces/local', waiting))).toBe(true);
  expect(await leftIn(folder, 'runs')).not.toContain(waiting);
  const kinds = (all: typeof events): string[] =>
    all.map(({ type, data }) => (type === 'claude.message' && 'type' in data ? `${type} ${data.type}` : type));
  expect(kinds(events)).toEqual(kinds((await cold.run({ prompt: 'x' })).events));
});

it('the session of a warm run goes on cold, in its workspace and with its history', async () => {
  const { run, ready, model } = await warm({ script: [text('I remember blue.'), text('Blue.')] });
  const waiting = await ready();
  const first = await run({ prompt: 'Remember blue.' });
  const second = await run({ prompt: 'Which colour?', sessionId: first.execution.sessionId ?? '' });
  expect(second.execution).toMatchObject({ workspace: waiting, outcome: { kind: 'succeeded' } });
  expect(JSON.stringify(model.requests.at(-1)?.body)).toContain('Remember blue.');
});

it('a file that a warm run writes is in its workspace and belongs to the run’s user', async () => {
  const allowed = { allowedTools: ['Bash'] };
  const script = [text('first'), bash('pwd > here.txt'), text('done')];
  const { run, ready, folder, runIdOf } = await warm({ script });
  await ready();
  await run({ prompt: 'x', ...allowed });
  const waiting = await ready();
  const { execution } = await run({ prompt: 'x', ...allowed });
  expect(await runIdOf(execution.id)).toBe(waiting);
  const workspace = join(folder, 'data/workspaces/local', waiting);
  expect((await readFile(join(workspace, 'here.txt'), 'utf8')).trim()).toBe(workspace);
  if (has('root')) expect((await stat(join(workspace, 'here.txt'))).uid).toBe(65_534);
});

it('a named workspace is claimed by a process that waited, and the next one too', async () => {
  const request = { prompt: 'x', workspace: 'shop', allowedTools: ['Bash'] };
  const script = [text('first'), bash('pwd > here.txt'), text('done'), text('continued')];
  const { run, ready, runIdOf, folder, model } = await warm({ script });
  await run(request);
  const waiting = await ready('named');
  const { execution } = await run(request);
  expect(execution).toMatchObject({ workspace: 'shop', outcome: { kind: 'succeeded' } });
  expect(await runIdOf(execution.id)).toBe(waiting);
  const workspace = join(folder, 'data/workspaces/local/shop');
  expect((await readFile(join(workspace, 'here.txt'), 'utf8')).trim()).toBe(workspace);
  const next = await run({ prompt: 'and?', sessionId: execution.sessionId ?? '' });
  expect(next.execution.outcome?.kind).toBe('succeeded');
  expect(JSON.stringify(model.requests.at(-1)?.body)).toContain('here.txt');
});

it('a refused claim starts the run cold in the same place, and no process waits for a claim again', async () => {
  const { run, service, runIdOf, ready } = await warm({ env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  await run({ prompt: 'x', workspace: 'shop' });
  const waiting = await ready('named');
  const { execution, events } = await run({ prompt: 'x', workspace: 'shop' });
  expect(await runIdOf(execution.id)).toBe(waiting);
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(events.filter(({ type }) => type === 'execution.started')).toHaveLength(1);
  await run({ prompt: 'x' });
  await ready('fresh');
  await run({ prompt: 'x', workspace: 'shop' });
  await run({ prompt: 'x' });
  expect(service.warm.ready().filter(({ kind }) => kind === 'named')).toEqual([]);
});

it('a run with other options, environment or tenant starts cold', async () => {
  const { run, start, service, ready, runIdOf } = await warm({ script: () => text('Hello') });
  await ready();
  const other = await start({ prompt: 'x' }, { tenant: 'other' });
  expect((await service.storage.getExecution('other', other.id))?.runId).toBe(other.id);
  for (const options of [{ env: { A: 'b' } }, { model: 'opus' }, { systemPrompt: 'Be brief.' }]) {
    const { execution } = await run({ prompt: 'x', ...options });
    expect(await runIdOf(execution.id)).toBe(execution.id);
  }
  await waitUntil('the other tenant’s run ends', async () => {
    return (await service.executions.get(other.id, { tenant: 'other' })).state === 'finished';
  });
});

it.each([
  ['alone', 1],
  ['with its launcher', 0],
])('a process that dies %s just before its run comes costs it nothing but time', async (_, spared) => {
  const { start, follow, ready, model, runIdOf } = await warm();
  const waiting = await ready();
  const pids = await marked(waiting);
  const launcher = Math.min(...pids);
  const killed = pids.filter((pid) => spared === 0 || pid !== launcher);
  expect(killed).not.toEqual([]);
  for (const pid of killed) process.kill(pid, 'SIGKILL');
  const { id } = await start({ prompt: 'x' });
  const { execution, events } = await follow(id);
  expect(await runIdOf(id)).toBe(waiting);
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(events.filter(({ type }) => type === 'execution.started')).toHaveLength(1);
  expect(model.requests).toHaveLength(1);
});

it('a process that dies while it waits takes its folders along', async () => {
  const { ready, folder } = await warm();
  const waiting = await ready();
  expect(await leftIn(folder, 'workspaces/local')).toEqual([waiting]);
  for (const pid of await marked(waiting)) process.kill(pid, 'SIGKILL');
  await waitUntil('nothing of it is left', async () => (await leftIn(folder, 'spares')).length === 0);
  for (const kind of ['runs', 'sessions', 'workspaces/local']) expect(await leftIn(folder, kind)).toEqual([]);
});

it('what a killed service had started ahead is gone after the next start, and what a living one has stays', async () => {
  const folder = await temporaryFolder();
  const model = await executor({ folder });
  const child = spawn(process.execPath, [fileURLToPath(new URL('../fixtures/warming-process.ts', import.meta.url))], {
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      CC_DATA_DIR: `${folder}/data`,
      // Proving a level takes a moment; tests of levels ask for one.
      CC_ISOLATION: 'L1',
      ANTHROPIC_API_KEY: 'sk-ant-api03-test',
      ANTHROPIC_BASE_URL: model.model.url,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [line] = await once(child.stdout, 'data');
  const runId = String(line).trim();
  await executor({ folder });
  expect(await leftIn(folder, 'spares')).toEqual([`${runId}.json`]);
  expect(await marked(runId)).not.toEqual([]);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await waitUntil('the process has died with its service', async () => (await marked(runId)).length === 0);
  expect(await leftIn(folder, 'runs')).toEqual([runId]);
  await executor({ folder });
  for (const kind of ['spares', 'runs', 'sessions', 'workspaces/local']) expect(await leftIn(folder, kind)).toEqual([]);
});

it.each(['acme.example', `claude-${'0'.repeat(32)}`])('so it is for the tenant %s', async (tenant) => {
  const folder = await temporaryFolder();
  const names = { runId: newId(), sessionId: newId(), tenant, instanceId: newId() };
  await mkdir(join(folder, 'data', `workspaces/${tenant}/${names.runId}`), { recursive: true });
  await mkdir(join(folder, 'data', 'spares'));
  await writeFile(join(folder, 'data', 'spares', `${names.runId}.json`), JSON.stringify(names));
  await writeFile(join(folder, 'data', 'spares', 'cut-short.json'), '{"runId":');
  await executor({ folder });
  expect(await leftIn(folder, `workspaces/${tenant}`)).toEqual([]);
  expect(await leftIn(folder, 'spares')).toEqual(['cut-short.json']);
});

it('runs that wait for their start are cancelled at once, without having started', async () => {
  const { start, follow, service, model } = await executor({ script: () => STALL[0] ?? text('') });
  const ids: string[] = [];
  for (let made = 0; made < 8; made += 1) ids.push((await start({ prompt: 'x' })).id);
  for (const id of ids) await service.executions.cancel(id, CALLER);
  for (const id of ids) expect((await follow(id)).execution.outcome?.kind).toBe('cancelled');
  expect(model.requests.length).toBeLessThan(8);
});

it('a warm run is cancelled, paused and resumed as a cold one, and leaves no process', async () => {
  const { start, follow, eventOf, ready, runIdOf, service } = await warm({ script: STALL });
  const waiting = await ready();
  const { id } = await start({ prompt: 'x' });
  await eventOf(id, 'claude.delta');
  expect(await runIdOf(id)).toBe(waiting);
  expect((await service.executions.pause(id, CALLER)).state).toBe('paused');
  expect((await service.executions.resume(id, CALLER)).state).toBe('running');
  await service.executions.cancel(id, CALLER);
  const { execution } = await follow(id);
  expect(execution.outcome).toMatchObject({ kind: 'cancelled', reason: 'cancelled_by_caller' });
  expect(execution.partialText).toContain('so far');
  expect(await marked(waiting)).toEqual([]);
});

it('the time limit of a warm run counts from its prompt, and kill -9 of its program is a crash', async () => {
  const { run, start, follow, eventOf, ready, runIdOf } = await warm({ script: () => STALL[0] ?? text('') });
  await ready();
  const late = await run({ prompt: 'x', timeLimitMs: 1_000 });
  expect(late.execution.outcome).toMatchObject({ kind: 'timed_out', reason: 'time_limit' });
  expect(late.execution.partialText).toContain('so far');
  const waiting = await ready();
  const { id } = await start({ prompt: 'x' });
  await eventOf(id, 'claude.delta');
  expect(await runIdOf(id)).toBe(waiting);
  for (const pid of await marked(waiting)) process.kill(pid, 'SIGKILL');
  expect((await follow(id)).execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed' });
  expect(await marked(waiting)).toEqual([]);
});

it('repeating an idempotent request leaves the process to the next run', async () => {
  const { run, start, ready, runIdOf, service } = await warm({ script: () => text('Hello') });
  await ready();
  const request = { prompt: 'x', idempotencyKey: 'once' };
  const { execution } = await run(request);
  const waiting = await ready();
  expect((await start(request)).id).toBe(execution.id);
  expect(service.warm.ready()).toEqual([{ runId: waiting, kind: 'fresh' }]);
  expect(await runIdOf((await run({ prompt: 'x' })).execution.id)).toBe(waiting);
});

it('several processes wait for the profile that is asked for, and closing removes them with their folders', async () => {
  const { service, folder, run } = await warm({ warmPool: 2, script: () => text('Hello') });
  await waitUntil('two wait', () => service.warm.ready().length === 2);
  const before = service.warm.ready().map(({ runId }) => runId);
  const { execution } = await run({ prompt: 'x', workspace: 'shop' });
  await waitUntil('both are replaced', () => service.warm.ready().filter(({ kind }) => kind === 'named').length === 2);
  const now = service.warm.ready().map(({ runId }) => runId);
  await service.close({ force: false });
  for (const runId of [...before, ...now]) expect(await marked(runId)).toEqual([]);
  expect(await leftIn(folder, 'runs')).toEqual([]);
  expect(await leftIn(folder, 'spares')).toEqual([]);
  expect(await leftIn(folder, 'sessions')).toEqual([execution.sessionId]);
  expect(await leftIn(folder, 'workspaces/local')).toEqual(['shop']);
});
