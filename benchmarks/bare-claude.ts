import { spawn } from 'node:child_process';
import { chown, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findClaude } from '../src/claude/binary.ts';
import { claudeCommand, userMessage } from '../src/claude/command.ts';
import { parseExecutionRequest } from '../src/protocol/execution-request.ts';
import { newId } from '../src/protocol/ids.ts';

export interface BareRun {
  /** Bytes of stdout as they come. */
  onChunk(chunk: Buffer): void;
  env?: Record<string, string>;
}

/**
 * The real program with the same arguments and environment as a run, without launcher, gateway, log or anything else
 * of ours. Resolves when it has exited.
 */
export async function bareClaude(url: string, { onChunk, env = {} }: BareRun): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'cc-executor-bare-'));
  const at = (name: string): string => join(folder, name);
  const directories = {
    workspace: at('ws'),
    home: at('home'),
    temp: at('tmp'),
    config: at('config'),
    options: at('options'),
  };
  for (const path of Object.values(directories)) await mkdir(path);
  const identity = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  if ('uid' in identity) for (const path of [folder, ...Object.values(directories)]) await chown(path, 65_534, 65_534);
  const binary = await findClaude(undefined);
  if (!binary.usable) throw new Error(binary.problem);
  const command = claudeCommand({
    binary: binary.path,
    request: parseExecutionRequest({ prompt: 'hello' }),
    model: 'sonnet',
    session: { id: newId(), resume: false },
    directories,
    executionId: newId(),
    gateway: { baseUrl: url, token: 'sk-ant-api03-bench', credentialKind: 'api_key' },
    inherited: { PATH: process.env.PATH ?? '' },
  });
  const child = spawn(command.file, command.args, { cwd: command.cwd, env: { ...command.env, ...env }, ...identity });
  child.stdin.write(`${JSON.stringify(userMessage('hello'))}\n`);
  child.stdout.on('data', (chunk: Buffer) => {
    onChunk(chunk);
    if (chunk.includes('"type":"result"')) child.stdin.end();
  });
  await new Promise((resolve) => child.on('close', resolve));
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}
