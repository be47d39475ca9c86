import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { type ClaudeProcess, startClaude } from '../../src/claude/process.ts';
import { fakeClaude, stateOf, waitUntil } from '../support/processes.ts';

let claude: ClaudeProcess;

function start(
  behaviour: string,
  options: { env?: Record<string, string>; args?: string[] } = {},
): AsyncIterator<string[]> {
  const env = { PATH: process.env.PATH ?? '', ...options.env };
  claude = startClaude({ command: { file: fakeClaude(behaviour), args: options.args ?? [], env, cwd: '/' } });
  return claude.batches[Symbol.asyncIterator]();
}

const prompt = (content: string) => ({ type: 'user', message: { role: 'user', content } });
const request = (id: string, subtype: string) => ({ type: 'control_request', request_id: id, request: { subtype } });

/** Reads batches until a line holds the text, and returns all lines read. */
async function readUntil(batches: AsyncIterator<string[]>, text: string): Promise<string[]> {
  const lines: string[] = [];
  while (!lines.some((line) => line.includes(text))) {
    const batch = await batches.next();
    if (batch.done) {
      throw new Error(`The output ended without ${text}: ${lines.join('\n')}`);
    }
    lines.push(...batch.value);
  }
  return lines;
}

afterEach(async () => {
  claude.kill();
  await claude.exited;
});

describe('a conversation', () => {
  test('is answered line by line and ends when the input is closed', async () => {
    const batches = start('succeeds');
    expect(await claude.send(request('r1', 'initialize'))).toBe(true);
    expect(JSON.parse((await readUntil(batches, 'r1'))[0] ?? '').response.subtype).toBe('success');
    expect(await claude.send(prompt('héllo'))).toBe(true);
    expect(JSON.parse((await readUntil(batches, '"result"')).at(-1) ?? '').result).toBe('You said: héllo');
    await claude.send(prompt('again'));
    await readUntil(batches, 'You said: again');
    claude.endInput();
    expect(await claude.exited).toEqual({ exitCode: 0, signal: null, failure: null, swept: 0, left: 0 });
    expect(await claude.send(prompt('too late'))).toBe(false);
  });

  test('lives on after an interrupt request that is answered', async () => {
    const batches = start('answers-interrupt');
    await claude.send(prompt('go'));
    await readUntil(batches, 'until somebody');
    await claude.send(request('i1', 'interrupt'));
    const lines = await readUntil(batches, '"aborted_streaming"');
    expect(lines.some((line) => line.includes('i1'))).toBe(true);
    await claude.send(prompt('go again'));
    await readUntil(batches, 'until somebody');
  });

  test.each(['stalls', 'result-then-hangs', 'ignores-interrupt'])('%s: terminate ends it', async (behaviour) => {
    const batches = start(behaviour);
    await claude.send(prompt('go'));
    await readUntil(batches, '"init"');
    claude.interrupt();
    claude.terminate();
    const { exitCode, signal } = await claude.exited;
    expect([exitCode, ['SIGTERM', 'SIGINT'].includes(signal ?? '')]).toEqual([null, true]);
  });

  test('goes on where it was after pause and resume', async () => {
    const batches = start('streams-slowly', { env: { FAKE_COUNT: '20', FAKE_DELAY_MS: '10' } });
    await claude.send(prompt('go'));
    const before = await readUntil(batches, 'word3 ');
    await claude.pause();
    expect(stateOf(await claude.cliPid)).toBe('T');
    await claude.resume();
    const lines = [...before, ...(await readUntil(batches, '"result"'))];
    const words = lines.map((line) => JSON.parse(line).event?.delta.text).filter((text) => text !== undefined);
    expect(words).toEqual(Array.from({ length: 20 }, (_, index) => `word${index} `));
  });
});

describe('a flood', () => {
  test('arrives whole, and then the output ends', async () => {
    const batches = start('floods', { env: { FAKE_COUNT: '100000' } });
    await claude.send(prompt('go'));
    claude.endInput();
    const lines = await readUntil(batches, '"result"');
    expect(lines.length).toBe(100_002);
    expect((await batches.next()).done).toBe(true);
  });

  test('waits for a busy reader: the process blocks on its stdout', async () => {
    const batches = start('floods', { env: { FAKE_COUNT: '1000000' } });
    await claude.send(prompt('go'));
    await batches.next();
    const pid = await claude.cliPid;
    const looks: number[] = [];
    // The bytes written are the same at 20 looks in a row: the pipe is full, and nothing reads ahead.
    const written = await waitUntil('the process to block', () => {
      looks.push(bytesWritten(pid));
      const last = looks.slice(-20);
      return last.length === 20 && new Set(last).size === 1 ? last[0] : undefined;
    });
    expect(written).toBeLessThan(8 * 1024 * 1024);
  });
});

test.each(['succeeds', 'stalls', 'floods'])('%s reports its version', async (behaviour) => {
  const batches = start(behaviour, { args: ['--version'] });
  expect((await batches.next()).value).toEqual(['2.1.330 (Claude Code)']);
  expect((await claude.exited).exitCode).toBe(0);
});

function bytesWritten(pid: number): number {
  return Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);
}
