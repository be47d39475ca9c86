import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { canariesIn, canary, SWEEP } from '../support/canaries.ts';
import { has } from '../support/capabilities.ts';
import { builtImage, type ComposeProject, MODEL_URL, singleProject, startModel } from '../support/docker.ts';

/** Where canaries lie in the container, beside the service's environment: files of its user, its data folder, a shared folder. */
const FILES = {
  secret_file: '/data/elsewhere.txt',
  temporary: '/tmp/left.txt',
  shared_memory: '/dev/shm/left.txt',
  workspace: '/data/workspaces/local/victim/secret.txt',
};

const step = (command: string): StepInput => ({
  kind: 'tool_use',
  tools: [{ name: 'Bash', input: { command, description: 'x', timeout: 60_000 } }],
});

describe.each([
  ['L1', { CC_ISOLATION: 'L1' }, undefined],
  ['L2', {}, undefined],
  ['L3', {}, 'deployment/compose.single-l3.yml'],
] as const)('a hostile run in the container at %s', (level, settings, overlay) => {
  let project: ComposeProject;

  beforeAll(async () => {
    if (!has('docker')) return;
    await builtImage();
    project = await singleProject(
      {
        ...settings,
        ANTHROPIC_API_KEY: `sk-ant-api03-${canary('service_environment')}`,
        ANTHROPIC_BASE_URL: MODEL_URL,
        CC_WARM_POOL: '0',
      },
      overlay,
    );
    await project.compose('up', '--detach', '--wait', '--no-build');
    await startModel(project, {
      script: [
        step('perl canary-sweep.pl /data 8000 /data/nothing nothing 1 7 2>/dev/null'),
        { kind: 'text', text: 'I have looked around.' },
      ],
    });
  });

  afterAll(() => project?.remove());

  it.runIf(has('docker'))('finds what the level lets through, and no more', async () => {
    const { run, call } = await project.calls();
    const put = (path: string, body: string) => call(`/v1/workspaces/${path}`, { method: 'PUT', body });
    expect((await put('victim/files/secret.txt', canary('workspace'))).status).toBeLessThan(300);
    expect((await put('attacker/files/canary-sweep.pl', await SWEEP())).status).toBeLessThan(300);
    for (const [name, path] of Object.entries(FILES)) {
      if (name !== 'workspace') await project.exec('sh', '-c', `echo ${canary(name)} > ${path}`);
    }
    const { id, isolation } = await run({ prompt: 'Look', workspace: 'attacker', allowedTools: ['Bash'] });
    const events = await (await call(`/v1/executions/${id}/events?limit=1000`)).text();
    const printed = String(JSON.parse(/"tool_result","content":("(?:[^"\\]|\\.)*")/.exec(events)?.[1] ?? '""'));
    expect(printed).toMatch(/end of sweep$/);
    const found = level === 'L1' ? Object.keys(FILES).sort() : [];
    expect({ isolation, found: canariesIn(printed) }).toEqual({ isolation: level, found });
  });
});
