import { mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { executor } from '../support/executor.ts';
import { fakeClaude, waitUntil } from '../support/processes.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const write = (path: string, content: string) => ({
  kind: 'tool_use' as const,
  tools: [{ name: 'Write', input: { file_path: path, content } }],
});
const text = (words: string) => ({ kind: 'text' as const, text: words });

it('a session goes on with its history, in its workspace', async () => {
  const { run, model } = await executor({ script: [text('I remember blue.'), text('Blue.')] });
  const first = await run({ prompt: 'Remember blue.' });
  const second = await run({ prompt: 'Which colour?', sessionId: first.execution.sessionId ?? '' });
  expect(second.execution.outcome?.kind).toBe('succeeded');
  expect(second.execution).toMatchObject({
    sessionId: first.execution.sessionId,
    workspace: first.execution.workspace,
  });
  expect(JSON.stringify(model.requests.at(-1)?.body)).toContain('Remember blue.');
});

it('a run that the service itself cannot carry out has an end, and its reader is told', async () => {
  const { run, folder } = await executor({ env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  const { sessionId } = (await run({ prompt: 'x' })).execution;
  const config = join(folder, 'data', 'sessions', sessionId ?? '');
  await symlink('projects', join(config, 'projects')); // A loop where the program keeps its transcripts.
  const { execution, events } = await run({ prompt: 'y', sessionId: sessionId ?? '' });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'spawn_failed' });
  expect(execution.outcome?.message).toContain('ELOOP');
  expect(events.at(-1)?.type).toBe('execution.finished');
});

it('an unknown session is refused', async () => {
  const { start } = await executor();
  await expect(start({ prompt: 'x', sessionId: '00000000-0000-4000-8000-000000000000' })).rejects.toMatchObject({
    code: 'not_found',
  });
});

it('a fresh workspace is the run’s own, and as root its files belong to the run uid', async () => {
  const { run, folder } = await executor({ script: [write('made.txt', 'hello'), text('done')] });
  const { execution } = await run({ prompt: 'x', permissionMode: 'acceptEdits' });
  expect(execution.outcome?.kind).toBe('succeeded');
  const made = join(folder, 'data', 'workspaces', 'local', execution.id, 'made.txt');
  expect(await readFile(made, 'utf8')).toBe('hello');
  if (has('root')) expect((await stat(made)).uid).toBe(65_534);
});

it('a named workspace is kept between runs, and a directory of the caller is worked in as it is', async () => {
  const { run, folder } = await executor({ script: [write('a.txt', '1'), text('done')] });
  await run({ prompt: 'x', workspace: 'shop', permissionMode: 'acceptEdits' });
  expect(await readFile(join(folder, 'data/workspaces/local/shop/a.txt'), 'utf8')).toBe('1');
  const directory = join(folder, 'mine');
  await mkdir(directory);
  const local = await executor({ script: [write('b.txt', '2'), text('done')] });
  const { execution } = await local.run({ prompt: 'x', permissionMode: 'acceptEdits' }, { tenant: 'local', directory });
  expect(execution.workspace).toBe(`local:${directory}`);
  expect(await readFile(join(directory, 'b.txt'), 'utf8')).toBe('2');
});

it('lent workspaces are found by name only', async () => {
  const { start, run, folder } = await executor({
    env: { CC_WORKSPACES: `app=/tmp`, CLAUDE_BIN: fakeClaude('succeeds') },
  });
  expect(folder).not.toBe('');
  await expect(start({ prompt: 'x', workspace: 'lent:other' })).rejects.toMatchObject({ code: 'invalid_request' });
  expect((await run({ prompt: 'x', workspace: 'lent:app' })).execution.workspace).toBe('lent:app');
});

it('a session in a directory that is lent no more does not go on there', async () => {
  const folder = await temporaryFolder();
  const serve = (workspaces: string) =>
    executor({ folder, env: { CC_WORKSPACES: workspaces, CLAUDE_BIN: fakeClaude('succeeds') } });
  const { run, service } = await serve('app=/tmp');
  const { sessionId } = (await run({ prompt: 'x', workspace: 'lent:app' })).execution;
  if (sessionId === null) throw new Error('it has no session');
  expect((await run({ prompt: 'y', sessionId })).execution.workspace).toBe('lent:app');
  await service.close({ force: true });
  const { start } = await serve('app@acme=/tmp');
  await expect(start({ prompt: 'z', sessionId })).rejects.toMatchObject({ code: 'invalid_request' });
});

it('two runs of one workspace are one after the other, in order', async () => {
  const { start, follow } = await executor({ env: { CLAUDE_BIN: fakeClaude('streams-slowly') } });
  const slow = { workspace: 'shop', env: { FAKE_COUNT: '40', FAKE_DELAY_MS: '10' } };
  const first = await start({ prompt: '1', ...slow });
  const second = await start({ prompt: '2', ...slow });
  const [one, two] = [await follow(first.id), await follow(second.id)];
  expect(two.execution.startedAt ?? '').toMatch(/T/);
  expect(Date.parse(two.execution.startedAt ?? '')).toBeGreaterThanOrEqual(Date.parse(one.execution.finishedAt ?? ''));
});

it('a workspace held by another living service is waited for', async () => {
  const first = await executor({ env: { CLAUDE_BIN: fakeClaude('stalls') } });
  const held = await first.start({ prompt: '1', workspace: 'shop' });
  await first.eventOf(held.id, 'claude.delta');
  const second = await executor({ folder: first.folder, env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  const waiting = await second.start({ prompt: '2', workspace: 'shop' });
  expect((await second.service.executions.get(waiting.id, { tenant: 'local' })).queuePosition).toBe(1);
  await first.service.executions.cancel(held.id, { tenant: 'local' });
  expect((await second.follow(waiting.id)).execution.outcome?.kind).toBe('succeeded');
});

it('the same idempotency key with the same request is one execution, with another request a conflict', async () => {
  const { start, follow, service } = await executor({ env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  const request = { prompt: 'x', idempotencyKey: 'k', metadata: { b: '1', a: '2' } };
  const ids = await Promise.all(Array.from({ length: 50 }, () => start(request).then(({ id }) => id)));
  expect(new Set(ids).size).toBe(1);
  await follow(ids[0] ?? '');
  expect((await start({ metadata: { a: '2', b: '1' }, idempotencyKey: 'k', prompt: 'x' })).id).toBe(ids[0]);
  await expect(start({ ...request, prompt: 'y' })).rejects.toMatchObject({ code: 'idempotency_conflict' });
  expect((await service.executions.list({ limit: 10 }, { tenant: 'local' })).executions).toHaveLength(1);
});

it('a transient failure is tried again only when asked, as a new attempt in the same log', async () => {
  const failing = { kind: 'http_error' as const, status: 500 };
  const tries = Array.from({ length: 4 }, () => failing); // The first request of the program and its three retries.
  const { run } = await executor({ script: [...tries, text('now it works')] });
  const { execution, events } = await run({ prompt: 'x', retry: { max: 1 } });
  expect(execution).toMatchObject({ attempt: 2, outcome: { kind: 'succeeded' }, partialText: 'now it works' });
  expect(events.find(({ type }) => type === 'execution.retrying')?.data).toMatchObject({
    attempt: 2,
    reason: 'model_error',
  });
  expect(events.filter(({ type }) => type === 'execution.started')).toHaveLength(2);
  const once = await executor({ script: [...tries, text('never asked')] });
  expect((await once.run({ prompt: 'x' })).execution.outcome?.reason).toBe('model_error');
  expect(once.model.requests).toHaveLength(4);
});

it('a retry is refused wherever it would empty something that is not the run’s own', async () => {
  const { start, run, folder } = await executor({
    env: { CLAUDE_BIN: fakeClaude('succeeds'), CC_WORKSPACES: 'app=/tmp' },
  });
  const retry = { max: 1 };
  const refused = { code: 'invalid_request', data: { errors: [{ path: 'retry' }] } };
  const { sessionId } = (await run({ prompt: 'x' })).execution;
  await expect(start({ prompt: 'x', retry }, { tenant: 'local', directory: folder })).rejects.toMatchObject(refused);
  await expect(start({ prompt: 'x', retry, workspace: 'shop' })).rejects.toMatchObject(refused);
  await expect(start({ prompt: 'x', retry, workspace: 'lent:app' })).rejects.toMatchObject(refused);
  await expect(start({ prompt: 'x', retry, sessionId: sessionId ?? '' })).rejects.toMatchObject(refused);
});

it.runIf(has('root'))('bypassPermissions is refused where the run would be root', async () => {
  const { run, folder } = await executor();
  const directory = join(folder, 'roots');
  await mkdir(directory);
  const { execution } = await run({ prompt: 'x', permissionMode: 'bypassPermissions' }, { tenant: 'local', directory });
  expect(execution.outcome?.message).toMatch(/refused as root.*belongs to root/s);
  const fresh = await executor();
  await waitUntil(
    'fresh works',
    async () =>
      (await fresh.run({ prompt: 'x', permissionMode: 'bypassPermissions' })).execution.outcome?.kind === 'succeeded',
  );
});

it.each(['-v', '--help', '/clear', '@/etc/passwd', '$(id) `id` ; id', 'line\nbreak\ttab', '\u{1F600} naïve'])(
  'the prompt %j arrives literally, and not on the command line',
  async (prompt) => {
    const { run, model } = await executor();
    const { execution } = await run({ prompt });
    expect(execution.outcome?.kind).toBe('succeeded');
    const sent = JSON.stringify(model.requests[0]?.body);
    expect(sent).toContain(JSON.stringify(prompt).slice(1, -1));
    expect(sent).not.toContain('root:x:0');
  },
);
