import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { has } from '../support/capabilities.ts';
import { builtImage, type ComposeProject, docker, MODEL_URL, singleProject, startModel } from '../support/docker.ts';

const CREDENTIAL = 'sk-ant-api03-known-to-the-model';
/** What the scripted model has the run do: what rights it has, and whether it finds what it must not. */
const LOOK = [
  // PR_GET_NO_NEW_PRIVS: a confined run has no /proc to read it from.
  'perl -e "print q(new privileges: ), syscall((qx(uname -m) =~ /aarch64/) ? 167 : 157, 39, 0, 0, 0, 0) ? q(no) : q(yes), qq(\\n)"',
  'id -u',
  'touch /app/mark 2>/dev/null || echo refused',
  `cat /proc/[0-9]*/environ 2>/dev/null | tr "\\0" "\\n" | sed -n "s/.*${CREDENTIAL}.*/LEAKED/p" | sort -u`,
  'perl -e "print 6*7" > made.txt; git init --quiet . && echo done',
].join('; ');

let project: ComposeProject;

beforeAll(async () => {
  if (!has('docker')) return;
  await builtImage();
  project = await singleProject({ ANTHROPIC_API_KEY: CREDENTIAL, ANTHROPIC_BASE_URL: MODEL_URL, CC_WARM_POOL: '0' });
  await project.compose('up', '--detach', '--wait', '--no-build');
  await startModel(project, {
    credential: CREDENTIAL,
    script: [
      { kind: 'tool_use', tools: [{ name: 'Bash', input: { command: LOOK, description: 'Look around' } }] },
      { kind: 'text', text: 'I have looked around.' },
      { kind: 'text', text: 'I take my time. '.repeat(8), deltaSize: 16, deltaEveryMs: 400 },
    ],
  });
});

afterAll(() => project?.remove());

/** What the service's container has printed on stdout and stderr. */
async function logs(): Promise<string> {
  return (await project.compose('logs', '--no-log-prefix', '--no-color')).stdout;
}

describe('the compose file with one service', () => {
  it.runIf(has('docker'))('starts a service that is ready, on loopback alone, and shows its first key', async () => {
    const { url, key, call } = await project.calls();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect((await call('/health/live')).status).toBe(200);
    const ready = await call('/health/ready');
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({
      status: 'ok',
      isolation: 'L2',
      checks: { credential: { ok: true, detail: 'api_key' } },
    });
    expect((await fetch(`${url}/v1/executions`)).status).toBe(401);
    expect(await logs()).toContain(`  key         ${key}\n`);
  });

  it.runIf(has('docker'))('takes every right from the service: capabilities, new privileges, the root', async () => {
    const status = await project.exec('sh', '-c', 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Uid)" /proc/1/status; mount');
    expect(status.stdout).toContain('CapEff:\t0000000000000000');
    expect(status.stdout).toContain('CapBnd:\t0000000000000000');
    expect(status.stdout).toContain('NoNewPrivs:\t1');
    expect(status.stdout).toContain('Uid:\t10001\t10001\t10001\t10001');
    expect(status.stdout).toMatch(/ on \/ type overlay \(ro,/);
    const limits = ['{{.HostConfig.Memory}}', '{{.HostConfig.PidsLimit}}'].join(' ');
    const id = (await project.compose('ps', '--quiet')).stdout.trim();
    expect((await docker(['inspect', '--format', limits, id])).stdout.trim()).toBe(`${4 * 1024 ** 3} 4096`);
  });

  it.runIf(has('docker'))(
    'runs the real claude, which has no rights and finds no credential of the service',
    async () => {
      const { run, call } = await project.calls();
      const execution = await run({ prompt: 'Look around', allowedTools: ['Bash'] });
      expect(execution.outcome).toMatchObject({ kind: 'succeeded', exitCode: 0 });
      expect(execution.result?.text).toBe('I have looked around.');
      const events = await (await call(`/v1/executions/${execution.id}/events?limit=1000`)).text();
      const seen = ['new privileges: no', '10001', 'refused', 'done'];
      expect(events).toContain(JSON.stringify(seen.join('\n')).slice(1, -1));
      const made = await call(`/v1/workspaces/${execution.workspace}/files/made.txt`);
      expect(await made.text()).toBe('42');
      const uploaded = await call('/v1/workspaces/kept/files/folder/note.txt', { method: 'PUT', body: 'A note' });
      expect(uploaded.status).toBeLessThan(300);
    },
  );

  it.runIf(has('docker'))('has a command line inside that finds its service', async () => {
    const shown = await project.exec('cc-executor', 'show', 'last', '--text');
    expect(shown).toMatchObject({ code: 0, stdout: 'I have looked around.' });
    const doctor = await project.exec('cc-executor', 'doctor', '--offline');
    expect(doctor).toMatchObject({ code: 0 });
  });

  it.runIf(has('docker'))(
    'ends in order: a stop waits for the run, exits with 0, and what was kept is there after',
    async () => {
      const before = await project.calls();
      const { id } = await before.submit({ prompt: 'Take your time' });
      await expect
        .poll(async () => (await before.get(id)).partialText, { timeout: 30_000 })
        .toContain('I take my time.');
      await project.compose('stop');
      const container = (await project.compose('ps', '--all', '--quiet')).stdout.trim();
      const ended = await docker(['inspect', '--format', '{{.State.ExitCode}} {{.State.OOMKilled}}', container]);
      expect(ended.stdout.trim()).toBe('0 false');

      await project.compose('up', '--detach', '--wait', '--no-build');
      const after = await project.calls();
      expect(after.key).toBe(before.key);
      const execution = await after.get(id);
      expect(execution.outcome).toMatchObject({ kind: 'succeeded' });
      expect(execution.result?.text).toBe('I take my time. '.repeat(8));
      expect(await (await after.call('/v1/workspaces/kept/files/folder/note.txt')).text()).toBe('A note');
      expect((await logs()).split(before.key).length).toBe(3);
    },
  );
});
