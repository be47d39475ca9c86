import { afterEach, describe, expect, test } from 'vitest';
import { type ClaudeOptions, type ClaudeProcess, LineTooLongError, startClaude } from '../../src/claude/process.ts';
import { descendantsOf, fakeClaude, isAlive, newMark, waitUntil, withArgument } from '../support/processes.ts';

const running: ClaudeProcess[] = [];

function start(
  behaviour: string,
  options: Omit<ClaudeOptions, 'command'> & { env?: Record<string, string> } = {},
): ClaudeProcess {
  const { env, ...rest } = options;
  const command = { file: fakeClaude(behaviour), args: [], env: { PATH: process.env.PATH ?? '', ...env }, cwd: '/' };
  const claude = startClaude({ ...rest, command });
  running.push(claude);
  return claude;
}

const prompt = { type: 'user', message: { role: 'user', content: 'go' } };

async function collect(claude: ClaudeProcess): Promise<string[]> {
  const lines: string[] = [];
  for await (const batch of claude.batches) {
    lines.push(...batch);
  }
  return lines;
}

/** Prompts, closes stdin and reads everything. */
async function run(claude: ClaudeProcess): Promise<string[]> {
  await claude.send(prompt);
  claude.endInput();
  return await collect(claude);
}

const typeOf = (line: string): unknown => JSON.parse(line).type;

afterEach(async () => {
  for (const claude of running.splice(0)) {
    claude.kill();
    const { left } = await claude.exited;
    expect(left).toBe(0);
  }
});

describe('bad output', () => {
  test('characters cut anywhere come whole, with CR LF line ends', async () => {
    const lines = await run(start('splits-utf8'));
    expect(JSON.parse(lines[1] ?? '').message.content[0].text).toBe('é € 😀 한');
    expect(lines.length).toBe(3);
  });

  test('lines that are not JSON come as they are, with U+FFFD for what is not UTF-8', async () => {
    const lines = await run(start('prints-garbage'));
    expect(lines.slice(0, 4)).toEqual(['this is not JSON', '{"cut": ', '[1,2\0]', '\ufffd\ufffd\ufffd(']);
    expect(lines.slice(4).map(typeOf)).toEqual(['system', 'assistant', 'result']);
  });

  test('a line of 20 MiB passes', async () => {
    const lines = await run(start('huge-line'));
    expect(JSON.parse(lines[1] ?? '').message.content[0].text.length).toBe(20 * 1024 * 1024);
  });

  test('a line over the cap ends the process, after the lines before it were delivered', async () => {
    const claude = start('huge-line', { maxLineBytes: 100_000, env: { FAKE_BYTES: '3000000' } });
    await claude.send(prompt);
    const lines: string[] = [];
    await expect(async () => {
      for await (const batch of claude.batches) {
        lines.push(...batch);
      }
    }).rejects.toThrow(new LineTooLongError(100_000));
    expect(lines.map(typeOf)).toEqual(['system']);
    expect((await claude.exited).signal).toBe('SIGKILL');
  });

  test('a process that closes stdout but lives on is killed', async () => {
    const claude = start('closes-stdout-but-lives');
    await claude.send(prompt);
    expect((await collect(claude)).map(typeOf)).toEqual(['system']);
    expect((await claude.exited).signal).toBe('SIGKILL');
  });

  test('100 MiB on stderr do not block the turn, and only the first MiB and the tail are kept', async () => {
    let heard = '';
    const claude = start('stderr-flood', {
      onStderr: (text) => {
        heard += text;
      },
    });
    expect((await run(claude)).map(typeOf)).toEqual(['system', 'assistant', 'result']);
    expect(Buffer.byteLength(heard)).toBeLessThanOrEqual(1024 * 1024 + 3);
    expect(Buffer.byteLength(heard)).toBeGreaterThan(1024 * 1024 - 3);
    expect(heard.startsWith('nois€ nois€ ')).toBe(true);
    expect(claude.droppedStderrBytes()).toBe(99 * 1024 * 1024 + 'the last words\n'.length);
    expect(claude.stderrTail().endsWith('the last words\n')).toBe(true);
    expect(Buffer.byteLength(claude.stderrTail())).toBeLessThanOrEqual(16 * 1024);
    expect(claude.stderrTail().startsWith('\ufffd')).toBe(false);
  });
});

describe('bad ends', () => {
  test('an exit code and what stood on stderr are reported', async () => {
    const claude = start('exits-2-with-stderr');
    expect(await run(claude)).toEqual([]);
    expect((await claude.exited).exitCode).toBe(2);
    expect(claude.stderrTail()).toBe('Error: the flux is not capacitated\n');
  });

  test('a crash in mid-stream keeps the lines before it', async () => {
    const claude = start('crashes-mid-stream');
    expect((await run(claude)).map(typeOf)).toEqual(['system', 'stream_event']);
    expect((await claude.exited).signal).toBe('SIGSEGV');
  });

  test('sending to a process that exits without reading resolves false in the end and throws nothing', async () => {
    const claude = start('exits-before-reading');
    const big = { type: 'user', text: 'x'.repeat(4_000_000) };
    expect(await claude.send(big)).toBe(false);
    expect(await claude.send(prompt)).toBe(false);
    claude.endInput();
    expect(await collect(claude)).toEqual([]);
    expect((await claude.exited).exitCode).toBe(3);
  });

  test('a grandchild that holds stdout open does not hang the reader', async () => {
    const mark = newMark();
    const claude = start('exits-leaving-child-on-stdout', { env: { FAKE_MARK: mark } });
    await claude.send(prompt);
    expect((await collect(claude)).map(typeOf)).toEqual(['system', 'assistant', 'result']);
    expect(await claude.exited).toEqual({ exitCode: 0, signal: null, failure: null, swept: 1, left: 0 });
    expect(withArgument(mark)).toEqual([]);
  });

  test('children that got away from session and process group are gone after a good end', async () => {
    const mark = newMark();
    const claude = start('forks-setsid', { env: { FAKE_MARK: mark, FAKE_EXITS: '1' } });
    expect((await run(claude)).map(typeOf)).toEqual(['system', 'assistant', 'result']);
    expect(await claude.exited).toEqual({ exitCode: 0, signal: null, failure: null, swept: 4, left: 0 });
    expect(withArgument(mark)).toEqual([]);
  });

  test('a process that ignores SIGTERM and SIGINT, and its child, end by kill', async () => {
    const claude = start('ignores-sigterm-with-child');
    await claude.send(prompt);
    const iterator = claude.batches[Symbol.asyncIterator]();
    await iterator.next();
    const family = await waitUntil('the child', () => {
      const pids = descendantsOf(claude.pid ?? 0);
      return pids.length >= 2 ? pids : undefined;
    });
    claude.interrupt();
    claude.terminate();
    // It still answers, so it has outlived the signals.
    await claude.send({ type: 'control_request', request_id: 'r1', request: { subtype: 'initialize' } });
    await waitUntil('an answer', async () =>
      (await iterator.next()).value?.some((line: string) => line.includes('"r1"')),
    );
    claude.kill();
    expect((await claude.exited).signal).toBe('SIGKILL');
    expect(family.filter(isAlive)).toEqual([]);
  });

  test('a failed start ends the batches and is a value in exited', async () => {
    const command = { file: '/nowhere/claude', args: [], env: {}, cwd: '/' };
    const claude = startClaude({ command });
    running.push(claude);
    expect(await collect(claude)).toEqual([]);
    expect((await claude.exited).failure?.reason).toBe('cli_missing');
    const unlaunched = startClaude({ command, perl: '/nowhere/perl' });
    expect([await unlaunched.send(prompt), await collect(unlaunched)]).toEqual([false, []]);
    expect((await unlaunched.exited).failure?.reason).toBe('perl_missing');
  });

  test('the batches end when the launcher is killed, though a hidden child holds stdout', async () => {
    const mark = newMark();
    const script = `setsid env -i /bin/sleep ${mark} & echo one; wait`;
    const claude = startClaude({ command: { file: '/bin/sh', args: ['-c', script], env: {}, cwd: '/' } });
    running.push(claude);
    const iterator = claude.batches[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toEqual(['one']);
    await waitUntil('the child', () => withArgument(mark).length === 1);
    process.kill(claude.pid ?? 0, 'SIGKILL');
    expect((await iterator.next()).done).toBe(true);
    expect((await claude.exited).failure?.reason).toBe('launcher_died');
    for (const pid of withArgument(mark)) {
      process.kill(pid, 'SIGKILL');
    }
  });
});
