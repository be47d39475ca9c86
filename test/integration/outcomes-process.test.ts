import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { executor } from '../support/executor.ts';
import { fakeClaude } from '../support/processes.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const transcript = (name: string): string => new URL(`../fixtures/transcripts/${name}.jsonl`, import.meta.url).pathname;

async function runFake(behaviour: string, request: object = {}, env: Record<string, string> = {}) {
  const { run } = await executor({ env: { CLAUDE_BIN: fakeClaude(behaviour), ...env } });
  return run({ prompt: 'hello', ...request });
}

it('a good turn of any program that speaks the protocol succeeds', async () => {
  const { execution, events } = await runFake('succeeds');
  expect(execution).toMatchObject({ state: 'finished', outcome: { kind: 'succeeded', exitCode: 0 } });
  expect(execution.result?.text).toContain('hello');
  expect(events[0]).toMatchObject({ seq: 1, type: 'execution.queued' });
  expect(events[1]).toMatchObject({ seq: 2, type: 'execution.started' });
});

it('a program that ends without a result is a crash with its last words', async () => {
  const { execution, events } = await runFake('exits-2-with-stderr');
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed', exitCode: 2 });
  const stderr = events.find(({ type }) => type === 'claude.stderr');
  expect(stderr).toBeDefined();
  expect(execution.outcome?.message).toContain('last words on stderr');
});

it('a program that exits before it reads its prompt is a crash, not a broken pipe', async () => {
  const { execution } = await runFake('exits-before-reading');
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed', exitCode: 3 });
});

it('a signal that kills the program is named, and its text is kept', async () => {
  const { execution } = await runFake('crashes-mid-stream');
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed', signal: 'SIGSEGV' });
  expect(execution.partialText).not.toBe('');
});

it('output that is no JSON is kept as stderr and does no harm', async () => {
  const { execution, events } = await runFake('prints-garbage');
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(events.some(({ type }) => type === 'claude.stderr')).toBe(true);
});

it('characters split at any byte arrive whole', async () => {
  const { execution } = await runFake('splits-utf8');
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(JSON.stringify(execution)).not.toContain('\ufffd');
});

it('a line of 20 MB passes', async () => {
  const { execution, events } = await runFake('huge-line', { env: { FAKE_BYTES: String(20 * 1024 * 1024) } });
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(Math.max(...events.map((event) => JSON.stringify(event).length))).toBeGreaterThan(20_000_000);
});

it('a line over the cap ends the run, and everything before it is kept', async () => {
  const { execution, events } = await runFake(
    'huge-line',
    { env: { FAKE_BYTES: '300000' } },
    { CC_MAX_LINE_BYTES: '100000' },
  );
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'output_too_large' });
  expect(execution.outcome?.message).toContain('100000 bytes');
  expect(events.filter(({ type }) => type === 'claude.message').length).toBeGreaterThan(0);
});

it('a log over its cap ends the run', async () => {
  const { execution } = await runFake('floods', { env: { FAKE_COUNT: '1000000' } }, { CC_MAX_LOG_BYTES: '2000000' });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'output_too_large' });
});

it('a program that hangs after its result is ended, and its result counts', async () => {
  const { execution } = await runFake('result-then-hangs');
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(execution.result?.text).not.toBe('');
});

it('a program that closes its output and lives on is ended as a crash', async () => {
  const { execution } = await runFake('closes-stdout-but-lives');
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed' });
});

it('a child that holds the output open delays nothing', async () => {
  const { execution } = await runFake('exits-leaving-child-on-stdout');
  expect(execution.outcome?.kind).toBe('succeeded');
});

it('a denial that interrupts the run is tool_denied, from the recorded lines of the real program', async () => {
  const { execution } = await runFake('replays', {
    env: { FAKE_LINES: transcript('denied-with-interrupt'), FAKE_EXIT: '1' },
  });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'tool_denied', exitCode: 1 });
  expect(execution.denials).toMatchObject([{ name: 'Bash' }]);
});

it('a result that calls itself a success and an error at once is an error', async () => {
  const folder = await temporaryFolder();
  const lines = join(folder, 'lines.jsonl');
  await writeFile(
    lines,
    '{"type":"result","subtype":"success","is_error":true,"result":"no","terminal_reason":"api_error"}\n',
  );
  await chmod(lines, 0o644);
  const { execution } = await runFake('replays', { env: { FAKE_LINES: lines } });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'model_error' });
});

it('a missing program, a folder and a file that is not executable are told apart, with what to do', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'claude'), '#!/bin/sh\n', { mode: 0o644 });
  await mkdir(join(folder, 'folder'));
  for (const [bin, words] of [
    [join(folder, 'nothing'), /does not exist; correct CLAUDE_BIN/],
    [join(folder, 'folder'), /is not a file/],
    [join(folder, 'claude'), /may not be executed/],
  ] as const) {
    const { run } = await executor({ env: { CLAUDE_BIN: bin } });
    const { execution } = await run({ prompt: 'hello' });
    expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_missing' });
    expect(execution.outcome?.message).toMatch(words);
  }
});

it('a program that tells no version is tried, and its crash says so', async () => {
  const { run } = await executor({ env: { CLAUDE_BIN: '/bin/true' } });
  const { execution } = await run({ prompt: 'hello' });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_crashed', exitCode: 0 });
  expect(execution.outcome?.message).toMatch(
    /without a result.*\/bin\/true --version does not answer like Claude Code/,
  );
});

it('another major version is refused by name', async () => {
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'claude'), '#!/bin/sh\necho "1.0.0 (Claude Code)"\n', { mode: 0o755 });
  const { run } = await executor({ env: { CLAUDE_BIN: join(folder, 'claude') } });
  expect((await run({ prompt: 'hello' })).execution.outcome?.message).toContain('Claude Code 1.0.0');
});

it('a program that passes as Claude and then lost its interpreter is cli_missing', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'claude');
  await writeFile(path, '#!/bin/sh\necho "2.1.330 (Claude Code)"\n', { mode: 0o755 });
  const { run } = await executor({ env: { CLAUDE_BIN: path } });
  await writeFile(path, '#!/no/such/interpreter\n');
  expect((await run({ prompt: 'hello' })).execution.outcome).toMatchObject({ kind: 'failed', reason: 'cli_missing' });
});

it('a directory that goes away while the run is queued is spawn_failed, with its name', async () => {
  const folder = await temporaryFolder();
  const directory = join(folder, 'work');
  await mkdir(directory);
  const { service, start, follow } = await executor({
    env: { CLAUDE_BIN: fakeClaude('stalls'), CC_MAX_CONCURRENT: '1' },
  });
  const first = await start({ prompt: 'first' });
  const second = await start({ prompt: 'second' }, { tenant: 'local', directory });
  await rm(directory, { recursive: true });
  await service.executions.cancel(first.id, { tenant: 'local' });
  const { execution } = await follow(second.id);
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'spawn_failed' });
  expect(execution.outcome?.message).toContain(directory);
});

it('a directory that is missing from the start is refused', async () => {
  const { start } = await executor();
  await expect(start({ prompt: 'x' }, { tenant: 'local', directory: '/no/such' })).rejects.toMatchObject({
    code: 'invalid_request',
    data: { errors: [{ path: 'workspace' }] },
  });
});

it('no credential is auth_failed with what to do, and nothing is started', async () => {
  const { run, model } = await executor({ env: { ANTHROPIC_API_KEY: '' } });
  const { execution, events } = await run({ prompt: 'hello' });
  expect(execution.outcome).toMatchObject({ kind: 'failed', reason: 'auth_failed' });
  expect(execution.outcome?.message).toMatch(/ANTHROPIC_API_KEY/);
  expect(events.map(({ type }) => type)).toEqual(['execution.queued', 'execution.finished']);
  expect(model.requests).toHaveLength(0);
});
