// promise: P10
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectServer } from '../../src/client/server-client.ts';
import { has } from '../support/capabilities.ts';
import {
  type ComposeProject,
  composeProject,
  docker,
  dockerOrThrow,
  imageFrom,
  MODEL_URL,
  startModel,
  uniqueName,
} from '../support/docker.ts';
import { eventsIn } from '../support/server.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const CREDENTIAL = 'sk-ant-api03-known-to-the-model';
const SENTENCE = 'I take my time. ';
const SHORT = SENTENCE.repeat(25);
const LONG = SENTENCE.repeat(55);
/** What all images of this file carry, to be found and removed by. */
const LABEL = uniqueName();
/** It runs as a worker, and ends at once as an API. */
const NO_API = '[ "$CC_ROLE" = worker ] && exec cc-executor serve; echo The API is broken >&2; exit 1';

let project: ComposeProject;
let name = '';
let first = '';
let state = '';

beforeAll(async () => {
  if (!has('docker')) return;
  // The name that the project gives to its image; deploys move it.
  name = `${LABEL}:current`;
  first = await imageFrom(`LABEL ${LABEL}=1`);
  await dockerOrThrow(['tag', first, name]);
  state = await mkdtemp(join(tmpdir(), 'cc-executor-test-'));
  project = await composeProject({
    ...{ ANTHROPIC_API_KEY: CREDENTIAL, ANTHROPIC_BASE_URL: MODEL_URL, CC_WARM_POOL: '0', CC_MAX_CONCURRENT: '2' },
    // Clients come back to the same port.
    ...{ EXECUTOR_IMAGE: name, EXECUTOR_PORT: String(await freePort()) },
  });
  await project.compose('up', '--detach', '--wait', '--no-build', '--scale', 'worker=2');
  const slowly = { kind: 'text', deltaSize: SENTENCE.length, deltaEveryMs: 400 } as const;
  const [short, long] = [
    { ...slowly, text: SHORT },
    { ...slowly, text: LONG },
  ];
  await startModel(project, { credential: CREDENTIAL, script: [short, short, short, long] });
});

afterAll(async () => {
  await project?.remove();
  if (state !== '') await rm(state, { recursive: true });
  const images = await docker(['images', '--quiet', '--no-trunc', '--filter', `label=${LABEL}`]);
  for (const image of new Set(images.stdout.split('\n'))) if (image !== '') await docker(['rmi', '--force', image]);
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function idOf(image: string): Promise<string> {
  return (await dockerOrThrow(['image', 'inspect', '--format', '{{.Id}}', image])).stdout.trim();
}

/** The images that api and workers run. */
async function running(): Promise<string[]> {
  const containers = [...(await project.containers('api')), ...(await project.containers('worker'))];
  const { stdout } = await dockerOrThrow(['inspect', '--format', '{{.Image}}', ...containers]);
  return stdout.trim().split('\n');
}

describe('a rollout', () => {
  it.runIf(has('docker'))('replaces workers and api under runs in flight, of which none is lost', async () => {
    const next = await imageFrom(`LABEL ${LABEL}=2`);
    const { submit, get } = await project.calls();
    const started = await Promise.all([1, 2, 3].map(() => submit({ prompt: 'Take your time' })));
    await expect.poll(async () => (await get(started[0]?.id ?? '')).partialText, { timeout: 30_000 }).not.toBe('');
    const { code, stdout } = await project.script('deploy.sh', state, next);
    expect(code, stdout).toBe(0);
    expect(await running()).toEqual([next, next, next]);
    for (const { id } of started) {
      expect(await get(id)).toMatchObject({ outcome: { kind: 'succeeded' }, result: { text: SHORT }, attempt: 1 });
    }
  });

  it.runIf(has('docker'))(
    'goes back, the api first, and a stream goes on from its cursor at the other one',
    async () => {
      const { submit, get, url, key, stream } = await project.calls();
      const { id } = await submit({ prompt: 'Take your time' });
      const client = connectServer({ url, key, transport: 'sse' });
      const seen: number[] = [];
      const following = (async () => {
        for await (const batch of client.events(id, { after: 0 })) seen.push(...batch.map(({ seq }) => seq));
      })();
      await expect.poll(async () => (await get(id)).partialText, { timeout: 30_000 }).not.toBe('');
      const { code, stdout } = await project.script('rollback.sh', state);
      expect(code, stdout).toBe(0);
      expect(await running()).toEqual([first, first, first]);
      expect(await idOf(name)).toBe(first);
      await following;
      await client.close({ force: false });
      const execution = await get(id);
      expect(execution).toMatchObject({ outcome: { kind: 'succeeded' }, result: { text: LONG }, attempt: 1 });
      const [api = ''] = await project.containers('api');
      const { stdout: apiStarted } = await dockerOrThrow(['inspect', '--format', '{{.State.StartedAt}}', api]);
      expect(Date.parse(apiStarted.trim()), 'the api was replaced within the run').toBeLessThan(
        Date.parse(execution.finishedAt ?? ''),
      );
      const stored = eventsIn(await stream(id)).map(([seq]) => seq);
      expect(stored).toEqual(stored.map((_, index) => index + 1));
      expect(seen).toEqual(stored);
    },
  );

  it.runIf(has('docker'))('goes back by itself, the workers too, when the new api does not come up', async () => {
    const folder = await temporaryFolder();
    const before = await running();
    const { submit, get } = await project.calls();
    const { id } = await submit({ prompt: 'Take your time' });
    const broken = await imageFrom(`LABEL ${LABEL}=3\nENTRYPOINT ${JSON.stringify(['sh', '-c', NO_API])}`);
    const { code, stdout } = await project.script('deploy.sh', folder, '--limit', '60', broken);
    expect(code, stdout).toBe(1);
    expect(stdout).toContain('The API is broken');
    expect(await running()).toEqual(before);
    await expect.poll(async () => (await get(id)).state, { timeout: 60_000, interval: 500 }).toBe('finished');
    expect(await get(id)).toMatchObject({ outcome: { kind: 'succeeded' }, result: { text: LONG } });
    const nothing = await project.script('rollback.sh', folder);
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining('names no image to go back to') });
  });

  it.runIf(has('docker'))('leaves everything as it is when a new worker is never ready', async () => {
    const [folder, before] = [await temporaryFolder(), await project.containers('worker')];
    const broken = await imageFrom(`LABEL ${LABEL}=4\nENV CLAUDE_BIN=/nowhere`);
    const { code, stdout } = await project.script('deploy.sh', folder, '--limit', '8', broken);
    expect(code, stdout).toBe(1);
    expect(await project.containers('worker')).toEqual(before);
    expect(await idOf(name)).toBe((await running())[0]);
  });

  it.runIf(has('docker'))('says how it is used, and refuses what it cannot do', async () => {
    const folder = await temporaryFolder();
    expect(await project.script('deploy.sh', folder, '--help')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Usage: deployment/deploy.sh [--limit SECONDS] IMAGE'),
    });
    const missing = await project.script('deploy.sh', folder, 'no-such-image:1');
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('There is no image no-such-image:1') });
  });
});
