import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { execa } from 'execa';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { has } from './capabilities.ts';
import { type Calls, callsTo } from './server.ts';
import { ROOT } from './source-files.ts';

export interface Said {
  code: number | undefined;
  stdout: string;
  stderr: string;
}

interface DockerOptions {
  env?: Record<string, string>;
  timeoutMs?: number;
}

/** A project of the repository's compose file: its own containers, network and volume, on a free port of loopback. */
export interface ComposeProject {
  name: string;
  /** `docker compose` for this project; throws when it fails. */
  compose(...args: string[]): Promise<Said>;
  /** A program inside the service's container; does not throw. */
  exec(...command: string[]): Promise<Said>;
  /** The service from outside, as it listens at this moment; with the key of its data folder. */
  calls(): Promise<Calls>;
  /** Removes everything, the data too. */
  remove(): Promise<void>;
}

const TEST_IMAGE = 'cc-executor-test:built';

/** Where the scripted model of a project listens, from within its network. */
export const MODEL_URL = 'http://model:9000';

/** The program's own scripted model listens on loopback alone; this opens it to the network of its container. */
const MODEL_PROGRAM = `
const { startScriptedModel } = await import('/app/dist/scripted-model/scripted-model.js');
const { connect, createServer } = await import('node:net');
const { script, credential } = JSON.parse(process.env.MODEL);
const port = Number(new URL((await startScriptedModel({ script, credential })).url).port);
createServer((outside) => {
  const inside = connect(port, '127.0.0.1');
  for (const socket of [outside, inside]) socket.on('error', () => { outside.destroy(); inside.destroy(); });
  outside.pipe(inside).pipe(outside);
}).listen(9000, () => console.log('listens'));
process.on('SIGTERM', () => process.exit(0));
`;

export function uniqueName(): string {
  return `cc-executor-test-${randomBytes(4).toString('hex')}`;
}

/** Runs `docker`; does not throw. The environment is this process's without anything that the compose file reads. */
export async function docker(args: readonly string[], options: DockerOptions = {}): Promise<Said> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(ANTHROPIC|CLAUDE|CC|EXECUTOR|NODE)_/.test(name));
  const { exitCode, stdout, stderr } = await execa('docker', args, {
    cwd: ROOT,
    reject: false,
    stdin: 'ignore',
    timeout: options.timeoutMs ?? 60_000,
    extendEnv: false,
    env: { ...Object.fromEntries(inherited), DOCKER_BUILDKIT: '1', ...options.env },
  });
  return { code: exitCode, stdout, stderr };
}

export async function dockerOrThrow(args: readonly string[], options: DockerOptions = {}): Promise<Said> {
  const said = await docker(args, options);
  if (said.code !== 0) throw new Error(`docker ${args.join(' ')}: ${said.code}\n${said.stdout}\n${said.stderr}`);
  return said;
}

let image: Promise<string> | undefined;

/** The image of this checkout, built once; with base images of this site's own where none can be pulled. */
export function builtImage(): Promise<string> {
  image ??= buildImage();
  return image;
}

async function buildImage(): Promise<string> {
  if (!has('docker')) return '';
  const bases = join(ROOT, 'deployment', 'base-images.sh');
  await execa(bases, [], { stdin: 'ignore', timeout: 240_000 });
  await dockerOrThrow(['build', '--progress', 'plain', '--tag', TEST_IMAGE, '.'], { timeoutMs: 240_000 });
  return TEST_IMAGE;
}

/** The compose file's service from the built image; a name for each, so that several can stand beside each other. */
export async function composeProject(env: Record<string, string> = {}): Promise<ComposeProject> {
  const name = uniqueName();
  const options = {
    timeoutMs: 120_000,
    env: { EXECUTOR_IMAGE: await builtImage(), EXECUTOR_PORT: '0', EXECUTOR_MEMORY: '4g', ...env },
  };
  // No .env file of this checkout counts.
  const project = ['compose', '--project-name', name, '--env-file', '/dev/null'];
  const compose = (...args: string[]): Promise<Said> => dockerOrThrow([...project, ...args], options);
  const exec = (...command: string[]): Promise<Said> =>
    docker([...project, 'exec', '--no-TTY', 'executor', ...command], options);
  return {
    name,
    compose,
    exec,
    calls: async () => {
      const { stdout } = await compose('port', 'executor', '8000');
      return callsTo(`http://${stdout.trim()}`, (await exec('cat', '/data/key')).stdout.trim());
    },
    remove: async () => {
      await docker(['rm', '--force', '--volumes', `${name}-model`]);
      await compose('down', '--volumes', '--timeout', '5');
    },
  };
}

/** A scripted model at `MODEL_URL` in the network of a project that is up; it goes with the project. */
export async function startModel(
  { name }: ComposeProject,
  model: { script: readonly StepInput[]; credential?: string },
): Promise<void> {
  const container = `${name}-model`;
  await dockerOrThrow([
    ...['run', '--detach', '--name', container, '--network', `${name}_default`, '--network-alias', 'model'],
    ...['--env', `MODEL=${JSON.stringify(model)}`, '--entrypoint', 'node', await builtImage()],
    ...['--input-type=module', '--eval', MODEL_PROGRAM],
  ]);
  const deadline = Date.now() + 20_000;
  while ((await docker(['logs', container])).stdout.trim() !== 'listens') {
    if (Date.now() > deadline) throw new Error(`no scripted model: ${(await docker(['logs', container])).stderr}`);
  }
}
