import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { type ScriptedModel, startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude, newMark, waitUntil, withArgument } from '../support/processes.ts';
import { testServer } from '../support/server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

// promise: P1 P2 P3 P4
const CALLER = { tenant: 'local' };

/** A service in a process of its own, which starts the executions it is given and can be killed. */
async function servingProcess(
  folder: string,
  env: Record<string, string>,
): Promise<{ child: ChildProcess; ids: string[] }> {
  const program = fileURLToPath(new URL('../fixtures/serving-process.ts', import.meta.url));
  const child = spawn(process.execPath, [program], {
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      CC_DATA_DIR: `${folder}/data`,
      // Proving a level takes a moment; tests of levels ask for one.
      CC_ISOLATION: 'L1',
      ANTHROPIC_API_KEY: 'sk-ant-api03-test',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const ids: string[] = [];
  createInterface({ input: child.stdout ?? process.stdin }).on('line', (line) => ids.push(line));
  return { child, ids };
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function busyModel(mark: string): Promise<ScriptedModel> {
  const command = `setsid sleep ${mark} & nohup sleep ${mark} & env -i setsid sleep ${mark} & echo started; tail -f /dev/null`;
  const model = await startScriptedModel({
    script: [
      { kind: 'tool_use', text: 'I start it.', tools: [{ name: 'Bash', input: { command, description: 'x' } }] },
    ],
  });
  onTestFinished(() => model.close());
  return model;
}

it('kill -9 of the service leaves no process, and the next start ends the run as lost with all output', async () => {
  const mark = newMark();
  const folder = await temporaryFolder();
  const model = await busyModel(mark);
  const requests = JSON.stringify([{ prompt: 'x', allowedTools: ['Bash'] }]);
  const { child, ids } = await servingProcess(folder, { ANTHROPIC_BASE_URL: model.url, REQUESTS: requests });
  await waitUntil('the tool runs', () => withArgument(mark).length >= 3);
  const watcher = await executor({ folder });
  await watcher.eventOf(ids[0] ?? '', 'tool.started');
  await killed(child);
  await waitUntil('the family is gone', () => withArgument(mark).length === 0);
  const { follow } = await executor({ folder });
  const { execution, events } = await follow(ids[0] ?? '');
  expect(execution.outcome).toMatchObject({ kind: 'lost', reason: 'worker_lost' });
  expect(execution.partialText).toContain('I start it.');
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
  expect(events.filter(({ type }) => type === 'execution.finished')).toHaveLength(1);
  expect(await readdir(`${folder}/data/runs`)).toEqual([]);
  expect(model.requests).toHaveLength(1);
});

it('accepted executions that never started stay queued, and run at the next start that adopts them', async () => {
  const folder = await temporaryFolder();
  const requests = JSON.stringify([
    { prompt: 'first' },
    { prompt: 'second' },
    { prompt: 'bound', cancelOnDisconnect: true },
  ]);
  const env = { REQUESTS: requests, CLAUDE_BIN: fakeClaude('stalls'), CC_MAX_CONCURRENT: '1' };
  const { child, ids } = await servingProcess(folder, env);
  await waitUntil('all are accepted', () => ids.length === 3);
  const [first = '', second = '', bound = ''] = ids;
  const watcher = await executor({ folder });
  await watcher.eventOf(first, 'claude.delta');
  await killed(child);
  const onlooker = await executor({ folder, env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  expect((await onlooker.follow(first)).execution.outcome?.kind).toBe('lost');
  expect((await onlooker.service.executions.get(second, CALLER)).state).toBe('queued');
  expect((await onlooker.follow(bound)).execution.outcome?.kind).toBe('cancelled');
  const adopter = await executor({ folder, adoptQueued: true, env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  expect((await adopter.follow(second)).execution.outcome?.kind).toBe('succeeded');
});

it('a start that fails because its address is in use takes up nothing that waits', async () => {
  const folder = await temporaryFolder();
  const env = { REQUESTS: '[{"prompt":"first"},{"prompt":"second"}]', CLAUDE_BIN: fakeClaude('stalls') };
  const { child, ids } = await servingProcess(folder, { ...env, CC_MAX_CONCURRENT: '1' });
  await waitUntil('both are accepted', () => ids.length === 2);
  await (await executor({ folder })).eventOf(ids[0] ?? '', 'claude.delta');
  await killed(child);
  const taken = createServer().listen(0, '127.0.0.1');
  onTestFinished(() => void taken.close());
  await once(taken, 'listening');
  const { port } = z.object({ port: z.int() }).parse(taken.address());
  await expect(testServer({ folder, env: { CC_PORT: String(port) } })).rejects.toMatchObject({
    code: 'address_unusable',
  });
  const onlooker = await executor({ folder });
  expect((await onlooker.service.executions.get(ids[1] ?? '', CALLER)).state).toBe('queued');
});

it('a living service on the same data folder keeps its runs, and others can follow them', async () => {
  const folder = await temporaryFolder();
  const env = {
    REQUESTS: JSON.stringify([{ prompt: 'x', env: { FAKE_COUNT: '200', FAKE_DELAY_MS: '5' } }]),
    CLAUDE_BIN: fakeClaude('streams-slowly'),
  };
  const { ids } = await servingProcess(folder, env);
  await waitUntil('it is accepted', () => ids.length === 1);
  const { follow, service } = await executor({ folder });
  await expect(service.executions.cancel(ids[0] ?? '', CALLER)).rejects.toMatchObject({ code: 'conflict' });
  const { execution, events } = await follow(ids[0] ?? '');
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
});

it('kill -9 of claude is a crash with its text, and leaves no process', async () => {
  const mark = newMark();
  const model = await busyModel(mark);
  const { start, follow } = await executor({ env: { ANTHROPIC_BASE_URL: model.url } });
  const { id, sessionId } = await start({ prompt: 'x', allowedTools: ['Bash'] });
  await waitUntil('the tool runs', () => withArgument(mark).length >= 3);
  const claude = withArgument(`--session-id=${sessionId}`).at(-1) ?? 0; // The launcher has it among its arguments too.
  expect(claude).toBeGreaterThan(0);
  process.kill(claude, 'SIGKILL');
  const { execution } = await follow(id);
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed', signal: 'SIGKILL' });
  expect(execution.partialText).toContain('I start it.');
  expect(withArgument(mark)).toEqual([]);
});
