import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { builtImage, type ComposeProject, composeProject, docker, MODEL_URL, startModel } from '../support/docker.ts';

const CREDENTIAL = 'sk-ant-api03-known-to-the-model';
const SENTENCE = 'I take my time. ';
const LONG = SENTENCE.repeat(40);

let project: ComposeProject;

beforeAll(async () => {
  if (!has('docker')) return;
  await builtImage();
  project = await composeProject({
    ...{ ANTHROPIC_API_KEY: CREDENTIAL, ANTHROPIC_BASE_URL: MODEL_URL, CC_WARM_POOL: '0', CC_MAX_CONCURRENT: '2' },
    ...{ CC_API_KEY: '', CC_LOG_LEVEL: 'info' },
  });
  await project.compose('up', '--detach', '--wait', '--no-build', '--scale', 'worker=3');
  await startModel(project, {
    credential: CREDENTIAL,
    script: [{ kind: 'text', text: LONG, deltaSize: SENTENCE.length, deltaEveryMs: 400 }],
  });
});

afterAll(() => project?.remove());

async function inspected(format: string, container: string | undefined): Promise<string> {
  return (await docker(['inspect', '--format', format, container ?? ''])).stdout.trim();
}

async function inside(container: string | undefined, script: string): Promise<string> {
  return (await docker(['exec', container ?? '', 'sh', '-c', script])).stdout.trim();
}

/** The executions that run in a worker: each one's processes are in its own workspace. */
async function runsIn(worker: string): Promise<string[]> {
  const places = await inside(worker, 'readlink /proc/[0-9]*/cwd 2>/dev/null; true');
  return [...new Set([...places.matchAll(/\/workspaces\/local\/([0-9a-f-]{36})$/gm)].map(([, id = '']) => id))];
}

describe('the compose file', () => {
  it.runIf(has('docker'))('takes every right from redis, api and workers, and limits them', async () => {
    for (const [service, uid] of Object.entries({ redis: '[1-9]\\d*', api: '10001', worker: '10001' })) {
      const [container] = await project.containers(service);
      const status = await inside(container, 'cat /proc/1/status; grep " / " /proc/mounts; touch /x 2>&1');
      expect(status, service).toMatch(new RegExp(`^Uid:(\\t${uid}){4}$`, 'm'));
      for (const line of ['CapEff:\t0000000000000000', 'CapBnd:\t0000000000000000', 'NoNewPrivs:\t1']) {
        expect(status, service).toContain(line);
      }
      expect(status, service).toMatch(/^overlay \/ overlay ro,/m);
      expect(status, service).toContain('Read-only file system');
      expect(await inspected('{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}', container)).toMatch(
        /^[1-9]\d* [1-9]\d*$/,
      );
    }
  });

  it.runIf(has('docker'))('keeps redis off the host, and closed without the password', async () => {
    const [redis] = await project.containers('redis');
    expect(await inspected('{{json .HostConfig.PortBindings}}', redis)).toBe('{}');
    expect(await inspected('{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}', redis)).toBe(
      `${project.name}_store`,
    );
    const internal = ['network', 'inspect', '--format', '{{.Internal}}', `${project.name}_store`];
    expect((await docker(internal)).stdout.trim()).toBe('true');
    expect(await inside(redis, 'redis-cli get anything 2>&1')).toContain('NOAUTH');
    const ask = 'REDISCLI_AUTH=$(cat /tmp/password) redis-cli config get';
    expect(await inside(redis, `${ask} maxmemory-policy; ${ask} appendonly`)).toBe(
      'maxmemory-policy\nnoeviction\nappendonly\nyes',
    );
    const password = /^redis:\/\/:([0-9a-f]{48})@redis:6379$/.exec(await inside(redis, 'cat /run/redis/url'))?.[1];
    expect(password).toBeDefined();
    for (const service of ['redis', 'api', 'worker']) {
      const [container] = await project.containers(service);
      expect(await inspected('{{json .Config}}', container)).not.toContain(password);
    }
    expect((await project.compose('logs')).stdout).not.toContain(password);
  });

  it.runIf(has('docker'))('gives the api no credential of Claude, in its environment or in its files', async () => {
    const [api] = await project.containers('api');
    const [worker] = await project.containers('worker');
    expect(await inspected('{{json .Config.Env}}', worker)).toContain(CREDENTIAL);
    expect(await inspected('{{json .Config}}', api)).not.toMatch(/ANTHROPIC_(?!BASE_URL)|CLAUDE|sk-ant/);
    expect(await inspected('{{range .Mounts}}{{.Destination}}{{"\\n"}}{{end}}', api)).not.toMatch(/^\/run\/secrets$/m);
    const { url, key, call } = await project.calls();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(await (await call('/health/ready')).json()).toMatchObject({ status: 'ok', role: 'api' });
    expect((await project.compose('logs', '--no-log-prefix', 'api')).stdout).toContain(`  key         ${key}\n`);
    expect(await inspected('{{json .HostConfig.PortBindings}}', worker)).toBe('{}');
  });

  it.runIf(has('docker'))(
    'spreads runs over its workers; when one is killed, its own are lost, and the others go on',
    async () => {
      const { submit, get } = await project.calls();
      const ids = (await Promise.all(Array.from({ length: 8 }, () => submit({ prompt: 'Take your time' })))).map(
        ({ id }) => id,
      );
      const workers = await project.containers('worker');
      const runs = (): Promise<string[][]> => Promise.all(workers.map(runsIn));
      await expect.poll(async () => (await runs()).map(({ length }) => length), { timeout: 40_000 }).toEqual([2, 2, 2]);
      const [killed = '', ...others] = workers;
      const doomed = await runsIn(killed);
      const spared = (await Promise.all(others.map(runsIn))).flat();
      const states = async (of: readonly string[]): Promise<string[]> =>
        (await Promise.all(of.map(get))).map(({ state }) => state);
      await expect
        .poll(() => states([...doomed, ...spared]), { timeout: 30_000 })
        .toEqual(Array.from({ length: 6 }, () => 'running'));
      await expect
        .poll(async () => (await get(doomed[0] ?? '')).partialText, { timeout: 30_000 })
        .toContain(SENTENCE.trim());

      await docker(['kill', '--signal', 'KILL', killed]);
      await expect.poll(() => states(doomed), { timeout: 40_000 }).toEqual(['finished', 'finished']);
      for (const lost of await Promise.all(doomed.map(get))) {
        expect(lost.outcome).toMatchObject({ kind: 'lost', reason: 'worker_lost' });
        expect(lost.attempt).toBe(1);
      }
      expect((await get(doomed[0] ?? '')).partialText).toContain(SENTENCE.trim());

      const queued = ids.filter((id) => !doomed.includes(id) && !spared.includes(id));
      expect(queued).toHaveLength(2);
      await expect.poll(() => states(ids), { timeout: 120_000, interval: 500 }).not.toContain('running');
      for (const ended of await Promise.all([...spared, ...queued].map(get))) {
        expect(ended.outcome).toMatchObject({ kind: 'succeeded' });
        expect(ended.result?.text).toBe(LONG);
      }
    },
  );

  it.runIf(has('docker'))('has a command line inside that finds its service', async () => {
    const shown = await project.exec('cc-executor', 'list', '--json');
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining('"executions": [') });
  });
});
