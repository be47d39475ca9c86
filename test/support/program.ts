import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** The built program; `npm test` builds it first. */
const PROGRAM = fileURLToPath(new URL('../../dist/bin/cli.js', import.meta.url));

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  child: ChildProcess;
  /** What stdout and stderr have said so far. */
  said(): { stdout: string; stderr: string };
  ended: Promise<Ended>;
}

export interface Machine {
  /** HOME, the data folder and a directory to work in lie in it. */
  folder: string;
  work: string;
  model: Awaited<ReturnType<typeof startScriptedModel>>;
  start(args: string[], options?: StartOptions): Running;
  run(args: string[], options?: StartOptions): Promise<Ended>;
}

interface StartOptions {
  input?: string | Buffer;
  env?: Record<string, string>;
  cwd?: string;
  /** Run as this user; needs root. */
  uid?: number;
  /** Another program in front, such as a pseudo-terminal. */
  wrap?(command: string[]): string[];
}

/** A home, a data folder, a directory and a scripted model; the program is a black box in it. */
export async function machine(
  script: Parameters<typeof startScriptedModel>[0]['script'] = [{ kind: 'text', text: 'Hello' }],
  owner?: number,
): Promise<Machine> {
  const folder = await temporaryFolder();
  const work = join(folder, 'work');
  await mkdir(work);
  if (owner !== undefined) for (const path of [folder, work]) await chown(path, owner, owner);
  const model = await startScriptedModel({ script });
  onTestFinished(() => model.close());
  const start = (args: string[], options: StartOptions = {}): Running => {
    const [file = '', ...rest] = (options.wrap ?? ((command) => command))([process.execPath, PROGRAM, ...args]);
    const child = spawn(file, rest, {
      cwd: options.cwd ?? work,
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        CC_DATA_DIR: join(folder, 'data'),
        // Proving a level takes a moment; tests of levels ask for one.
        CC_ISOLATION: 'L1',
        ANTHROPIC_API_KEY: 'sk-ant-api03-test',
        ANTHROPIC_BASE_URL: model.url,
        ...options.env,
      },
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    let [stdout, stderr] = ['', ''];
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
    const ended = once(child, 'close').then(([code]) => ({ code, stdout, stderr }));
    return { child, said: () => ({ stdout, stderr }), ended };
  };
  return { folder, work, model, start, run: (args, options) => start(args, options).ended };
}
