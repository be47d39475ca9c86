import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { has } from '../support/capabilities.ts';
import {
  builtImage,
  type ComposeProject,
  docker,
  dockerOrThrow,
  MODEL_URL,
  singleProject,
  startModel,
  uniqueName,
} from '../support/docker.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const TOKEN = 'sk-ant-oat01-known-to-the-model';
const LOGIN = JSON.stringify({
  claudeAiOauth: {
    accessToken: TOKEN,
    refreshToken: 'sk-ant-ort01-of-a-test',
    expiresAt: Date.now() + 8 * 3_600_000,
    scopes: ['user:inference', 'user:profile'],
    subscriptionType: 'max',
  },
});

let image = '';
beforeAll(async () => {
  image = await builtImage();
});

/** A project whose secrets lie in a folder of the test's own; removed after the test. */
async function projectWith(secrets: string, env: Record<string, string>): Promise<ComposeProject> {
  const made = await singleProject({
    EXECUTOR_SECRETS: secrets,
    ANTHROPIC_BASE_URL: MODEL_URL,
    CC_WARM_POOL: '0',
    ...env,
  });
  onTestFinished(() => made.remove());
  return made;
}

/** Makes a folder and all in it a user's, for which a container has the right that this process may lack. */
async function give(folder: string, uid: number): Promise<void> {
  const mount = ['--volume', `${folder}:/folder`];
  await dockerOrThrow([
    'run',
    '--rm',
    '--user',
    '0',
    ...mount,
    '--entrypoint',
    'chown',
    image,
    '-R',
    `${uid}`,
    '/folder',
  ]);
}

async function answerOf(project: ComposeProject, credential: string): Promise<string | undefined> {
  await startModel(project, { credential, script: [{ kind: 'text', text: 'Hello' }] });
  const { run } = await project.calls();
  return (await run({ prompt: 'Say hello' })).result?.text;
}

describe('credentials in a container', () => {
  it.runIf(has('docker'))('takes an API key and a service key from files', async () => {
    const secrets = await temporaryFolder();
    const key = 'an-operator-chosen-key-of-enough-characters';
    await writeFile(join(secrets, 'api-key'), 'sk-ant-api03-out-of-a-file\n', { mode: 0o444 });
    await writeFile(join(secrets, 'service-key'), `${key}\n`, { mode: 0o444 });
    const project = await projectWith(secrets, {
      ANTHROPIC_API_KEY_FILE: '/run/secrets/api-key',
      CC_API_KEY_FILE: '/run/secrets/service-key',
    });
    await project.compose('up', '--detach', '--wait', '--no-build');
    await startModel(project, {
      credential: 'sk-ant-api03-out-of-a-file',
      script: [{ kind: 'text', text: 'Hello' }],
    });
    const { url } = await project.calls();
    const answer = await fetch(`${url}/v1/execute`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'Say hello' }),
    });
    expect(await answer.json()).toMatchObject({ outcome: { kind: 'succeeded' }, result: { text: 'Hello' } });
  });

  it.runIf(has('docker'))('names a file with a key that its user may not read, and the user', async () => {
    const file = '/etc/shadow';
    const said = await docker(['run', '--rm', '--env', `ANTHROPIC_API_KEY_FILE=${file}`, image]);
    expect(said.code).toBe(2);
    expect(said.stderr).toContain(`ANTHROPIC_API_KEY_FILE names ${file}, which uid 10001 may not read`);
  });

  it.runIf(has('docker'))(
    'is not ready with a login of another user, and is with a copy made as documented',
    async () => {
      const [host, secrets] = [await temporaryFolder(), await temporaryFolder()];
      const login = join(secrets, 'credentials.json');
      for (const file of [join(host, '.credentials.json'), login]) await writeFile(file, LOGIN, { mode: 0o600 });
      const project = await projectWith(secrets, { CC_CLAUDE_CREDENTIALS: '/run/secrets/credentials.json' });
      await project.compose('up', '--detach', '--no-build');
      await expect
        .poll(async () => (await project.exec('cc-executor', 'doctor', '--offline')).stdout, { timeout: 20_000 })
        .toContain('/run/secrets/credentials.json');
      const { call } = await project.calls();
      await expect
        .poll(
          () =>
            call('/health/ready').then(
              ({ status }) => status,
              () => 0,
            ),
          { timeout: 20_000 },
        )
        .toBe(503);

      await dockerOrThrow([
        ...['run', '--rm', '--user', '0', '--entrypoint', 'install'],
        ...['--volume', `${host}:/from:ro`, '--volume', `${secrets}:/to`, image],
        ...['-o', '10001', '-m', '0400', '/from/.credentials.json', '/to/credentials.json'],
      ]);
      await project.compose('restart', '--timeout', '10');
      await project.compose('up', '--detach', '--wait', '--no-build');
      expect(await answerOf(project, TOKEN)).toBe('Hello');
    },
  );

  it.runIf(has('docker'))('works as the user whom the login belongs to, with a data folder of theirs', async () => {
    const folder = await temporaryFolder();
    const [data, login, name] = [join(folder, 'data'), join(folder, 'credentials.json'), uniqueName()];
    await mkdir(data);
    await writeFile(login, LOGIN, { mode: 0o600 });
    onTestFinished(() => give(folder, process.getuid?.() ?? 0));
    await give(folder, 4242);
    onTestFinished(async () => void (await docker(['rm', '--force', '--volumes', name])));
    await dockerOrThrow([
      ...[
        'run',
        '--detach',
        '--name',
        name,
        '--read-only',
        '--tmpfs',
        '/tmp',
        '--cap-drop',
        'ALL',
        '--user',
        '4242:4242',
      ],
      ...['--security-opt', 'no-new-privileges', '--env', 'CC_CLAUDE_CREDENTIALS=/run/secrets/credentials.json'],
      ...['--volume', `${data}:/data`, '--volume', `${login}:/run/secrets/credentials.json:ro`, image],
    ]);
    const doctor = (): Promise<string> =>
      docker(['exec', name, 'cc-executor', 'doctor', '--offline']).then(({ stdout }) => stdout);
    await expect.poll(doctor, { timeout: 20_000 }).toContain('a Claude Max login (/run/secrets/credentials.json)');
    const health = ['inspect', '--format', '{{.State.Health.Status}}', name];
    await expect.poll(async () => (await docker(health)).stdout, { timeout: 30_000 }).toBe('healthy');
  });
});
