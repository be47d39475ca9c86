import { createHash, randomBytes } from 'node:crypto';
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
  input?: string;
}

/** A project of one of the repository's compose files: its own containers, networks and volumes, on loopback. */
export interface ComposeProject {
  name: string;
  /** `docker compose` for this project; throws when it fails. */
  compose(...args: string[]): Promise<Said>;
  /** A program inside the container that has the doors; does not throw. */
  exec(...command: string[]): Promise<Said>;
  /** A program of deployment/ for this project, which it may keep something about in `folder`; does not throw. */
  script(file: string, folder: string, ...args: string[]): Promise<Said>;
  /** The service from outside, as it listens at this moment; with the key of its data folder. */
  calls(): Promise<Calls>;
  /** The containers of a service that run, in the order of their numbers. */
  containers(service: string): Promise<string[]>;
  /** Removes everything, the data too. */
  remove(): Promise<void>;
}

/** Each checkout has its own, so that two may be tested on one engine. */
const TEST_IMAGE = `cc-executor-test:${createHash('sha256').update(ROOT).digest('hex').slice(0, 12)}`;

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
export function docker(args: readonly string[], options: DockerOptions = {}): Promise<Said> {
  return run('docker', args, options);
}

async function run(program: string, args: readonly string[], options: DockerOptions): Promise<Said> {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(ANTHROPIC|CLAUDE|CC|EXECUTOR|NODE|REDIS|COMPOSE)_/.test(name),
  );
  const { exitCode, stdout, stderr } = await execa(program, args, {
    cwd: ROOT,
    reject: false,
    input: options.input ?? '',
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

/** An image of the built one with further lines of a Dockerfile; returns its id, by which alone it goes. */
export async function imageFrom(lines: string): Promise<string> {
  const input = `FROM ${await builtImage()}\n${lines}\n`;
  return (await dockerOrThrow(['build', '--quiet', '-'], { input })).stdout.trim();
}

/** docker-compose.yml: redis, api and workers. */
export function composeProject(env: Record<string, string> = {}): Promise<ComposeProject> {
  return projectOf({ file: 'docker-compose.yml', service: 'api' }, env);
}

/** deployment/compose.single.yml: everything in one container; with what another file changes. */
export function singleProject(env: Record<string, string> = {}, overlay?: string): Promise<ComposeProject> {
  return projectOf({ file: 'deployment/compose.single.yml', service: 'executor', overlay }, env);
}

/** A compose file's services from the built image; a name for each project, so that several can stand side by side. */
async function projectOf(
  { file, service, overlay }: { file: string; service: string; overlay?: string | undefined },
  settings: Record<string, string>,
): Promise<ComposeProject> {
  const name = uniqueName();
  const further = overlay === undefined ? [] : ['--file', overlay];
  const env = {
    ...{ EXECUTOR_IMAGE: await builtImage(), EXECUTOR_PORT: '0', EXECUTOR_MEMORY: '4g' },
    // No .env file of this checkout counts.
    ...{ COMPOSE_PROJECT_NAME: name, COMPOSE_FILE: file, COMPOSE_ENV_FILES: '/dev/null' },
    ...settings,
  };
  const project = ['compose', '--project-directory', '.', '--file', file, ...further, '--project-name', name];
  const options = { timeoutMs: 120_000, env };
  const compose = (...args: string[]): Promise<Said> =>
    dockerOrThrow([...project, '--env-file', '/dev/null', ...args], options);
  const exec = (...command: string[]): Promise<Said> =>
    docker([...project, '--env-file', '/dev/null', 'exec', '--no-TTY', service, ...command], options);
  return {
    name,
    compose,
    exec,
    script: (program, folder, ...args) =>
      run(join(ROOT, 'deployment', program), args, { timeoutMs: 220_000, env: { ...env, EXECUTOR_STATE: folder } }),
    calls: async () => {
      const { stdout } = await compose('port', service, '8000');
      return callsTo(`http://${stdout.trim()}`, (await exec('cat', '/data/key')).stdout.trim());
    },
    containers: async (of) => (await compose('ps', '--quiet', of)).stdout.split('\n').filter((id) => id !== ''),
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
