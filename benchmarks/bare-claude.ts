import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findClaude } from '../src/claude/binary.ts';
import { type ClaudeCommand, claudeCommand, initializeMessage, userMessage } from '../src/claude/command.ts';
import { parseExecutionRequest } from '../src/protocol/execution-request.ts';
import { newId } from '../src/protocol/ids.ts';

/** `nobody`, as whom a service that is root runs the program. */
const RUN_UID = 65_534;
const LIMIT_MS = 120_000;

export interface BareClaude {
  /** When the program was spawned, on the clock of `performance.now()`. */
  start: number;
  /** When it had exited and its output was read to the end. */
  end: number;
}

export interface BareRun {
  /** Bytes of stdout as they come. */
  onChunk(chunk: Buffer): void;
  /** What differs from the environment of a run. */
  env?: Record<string, string>;
}

/**
 * The real program with the same arguments, environment, user and input as a run with a fresh workspace, without
 * launcher, gateway, log or anything else of ours. Its folders are made before the clock starts, which is in its
 * favour: a run makes its own inside the measured time.
 */
export async function bareClaude(url: string, { onChunk, env = {} }: BareRun): Promise<BareClaude> {
  const folder = await mkdtemp(join(tmpdir(), 'cc-executor-bare-'));
  try {
    const command = await commandIn(folder, url);
    const identity = process.getuid?.() === 0 ? { uid: RUN_UID, gid: RUN_UID } : {};
    const request = parseExecutionRequest({ prompt: 'hello' });
    const start = performance.now();
    const child = spawn(command.file, command.args, {
      cwd: command.cwd,
      env: { ...command.env, ...env },
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
      ...identity,
    });
    const closed = once(child, 'close');
    for (const message of [initializeMessage(request, undefined), userMessage(request.prompt, newId())]) {
      child.stdin.write(`${JSON.stringify(message)}\n`);
    }
    let tail = '';
    child.stdout.on('data', (chunk: Buffer) => {
      onChunk(chunk);
      tail = `${tail.slice(-20)}${chunk.toString('latin1')}`;
      if (tail.includes('"type":"result"')) child.stdin.end();
      tail = tail.slice(-20);
    });
    await closed;
    return { start, end: performance.now() };
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function commandIn(folder: string, url: string): Promise<ClaudeCommand> {
  const at = (name: string): string => join(folder, name);
  const directories = {
    workspace: at('workspace'),
    home: at('home'),
    temp: at('tmp'),
    config: at('config'),
    options: at('options'),
  };
  for (const path of Object.values(directories)) await mkdir(path);
  if (process.getuid?.() === 0) {
    for (const path of [folder, ...Object.values(directories)]) await chown(path, RUN_UID, RUN_UID);
  }
  const binary = await findClaude(undefined);
  if (!binary.usable) throw new Error(binary.problem);
  return claudeCommand({
    binary: binary.path,
    request: parseExecutionRequest({ prompt: 'hello' }),
    model: 'sonnet',
    session: { id: newId(), resume: false },
    directories,
    runId: newId(),
    gateway: { baseUrl: url, token: 'sk-ant-api03-bench', credentialKind: 'api_key' },
    inherited: { PATH: process.env.PATH ?? '' },
  });
}
