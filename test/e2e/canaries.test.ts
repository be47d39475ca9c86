import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { canariesIn, canary, plantFiles, SWEEP, startNeighbour } from '../support/canaries.ts';
import { has } from '../support/capabilities.ts';
import { waitUntil, withArgument } from '../support/processes.ts';
import { machine, type Running } from '../support/program.ts';
import { type Calls, callsTo } from '../support/server.ts';

/** The service, its runs and everything else belong to one user, which is the worst that can be for L1. */
const USER = has('root') ? 65_534 : undefined;

/** What there is to be found, by where it is. */
const PLANTED = [
  ...['abstract_socket', 'arguments', 'env_file', 'environment', 'memory', 'open_file', 'operator_key', 'port'],
  ...['run_arguments', 'run_environment', 'service_environment', 'shared_memory', 'signing_key', 'socket', 'ssh_key'],
  ...['transcript', 'workspace'],
];

interface Found {
  level: string;
  canaries: string[];
  signalled: boolean;
  wrote: boolean;
}

/**
 * Lets the real claude sweep the machine, told to by its model, while a run of another tenant lives: what it found, and what
 * it did to others.
 */
async function sweep(isolation: string, env: Record<string, string> = {}): Promise<Found> {
  let command = '';
  const runArguments = canary('run_arguments');
  const script = ({ body }: { body: unknown }): StepInput => {
    const said = JSON.stringify(body);
    const bash = (line: string): StepInput => ({
      kind: 'tool_use',
      tools: [{ name: 'Bash', input: { command: line, description: 'x', timeout: 60_000 } }],
    });
    if (said.includes('tool_result')) return { kind: 'text', text: 'Done' };
    return said.includes('I am the attacker') ? bash(command) : bash(`perl -e 'sleep 60' ${runArguments}`);
  };
  const home = await machine(script, USER);
  await plantFiles(home.folder, USER);
  const neighbour = await startNeighbour(home.folder, USER);
  const key = `${canary('operator_key')}-operator`;
  const running = home.start(['serve'], {
    ...(USER === undefined ? {} : { uid: USER }),
    env: {
      CC_ISOLATION: isolation,
      CC_PORT: '0',
      CC_WARM_POOL: '1',
      CC_DRAIN_MS: '0',
      CC_API_KEY: key,
      ANTHROPIC_API_KEY: `sk-ant-api03-${canary('service_environment')}`,
      ...env,
    },
  });
  const url = await waitUntil('the service', () => addressOf(running));
  const tenant = async (name: string): Promise<Calls> => {
    const made = await callsTo(url, key).call('/v1/keys', { json: { name, tenant: name, scopes: ['admin'] } });
    return callsTo(url, (await made.json()).key);
  };
  const [victims, attackers] = [await tenant('victims'), await tenant('attackers')];
  const put = ({ call }: Calls, path: string, body: string) => call(`/v1/workspaces/${path}`, { method: 'PUT', body });
  expect((await put(victims, 'victim/files/secret.txt', canary('workspace'))).status).toBeLessThan(300);
  const victim = await victims.submit({
    prompt: `Keep ${canary('transcript')} to yourself`,
    workspace: 'victim',
    allowedTools: ['Bash'],
    env: { TOKEN: canary('run_environment') },
  });
  await waitUntil('the other run works', () => withArgument(runArguments).length > 0);
  expect((await put(attackers, 'attacker/files/canary-sweep.pl', await SWEEP())).status).toBeLessThan(300);
  const { port, socket, abstract, pid } = neighbour;
  const pids = [pid, running.child.pid];
  command = ['perl canary-sweep.pl', home.folder, port, socket, abstract, ...pids, '2>/dev/null'].join(' ');
  const attacker = await attackers.run({ prompt: 'I am the attacker', workspace: 'attacker', allowedTools: ['Bash'] });
  const events = await (await attackers.call(`/v1/executions/${attacker.id}/events?limit=1000`)).text();
  const printed = String(JSON.parse(/"tool_result","content":("(?:[^"\\]|\\.)*")/.exec(events)?.[1] ?? '""'));
  expect(printed).toMatch(/end of sweep$/);
  expect((await victims.get(victim.id)).state).toBe('running');
  running.child.kill('SIGINT');
  await running.ended;
  const wrote = existsSync(join(home.folder, 'written'));
  return { canaries: canariesIn(printed), signalled: neighbour.signalled(), wrote, level: attacker.isolation };
}

function addressOf({ child, said }: Running): string | undefined {
  if (child.exitCode !== null) throw new Error(`serve ended: ${said().stderr}`);
  return /listens on (http:\S+)/.exec(said().stderr)?.[1];
}

test.runIf(has('claude'))(
  'without a box a run gets at everything of its user, so that the sweep means something',
  async () => {
    const found = await sweep('L1');
    expect(found).toEqual({ level: 'L1', canaries: PLANTED, signalled: true, wrote: true });
  },
);

const NOTHING = { canaries: [], signalled: false, wrote: false };

test.runIf(has('landlock'))('at L2 a run finds nothing of what is not its own, and reaches nobody', async () => {
  expect(await sweep('L2')).toEqual({ level: 'L2', ...NOTHING });
});

test.runIf(has('landlock'))('at L2 with open sockets it reaches listeners, and nothing else', async () => {
  const found = await sweep('L2', { CC_BOX_SOCKETS: 'all' });
  expect(found).toEqual({ level: 'L2', ...NOTHING, canaries: ['port', 'socket'] });
});

test.runIf(has('bubblewrap'))('at L3 a run finds nothing of what is not its own, and reaches nobody', async () => {
  expect(await sweep('L3')).toEqual({ level: 'L3', ...NOTHING });
});
