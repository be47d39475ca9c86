import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { ExecutionEvent } from '../../src/protocol/events.ts';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { has } from '../support/capabilities.ts';
import { website } from '../support/egress.ts';
import { executor } from '../support/executor.ts';
import { waitUntil } from '../support/processes.ts';
import { testServer } from '../support/server.ts';

/** Not among the hosts that are reached without a proxy, and yet on this machine. */
const OUTSIDE = '127.0.0.2';

async function outsideSite(): Promise<string> {
  const { port } = await website({ host: OUTSIDE, answer: 'hello from outside\n' });
  return `${OUTSIDE}:${port}`;
}

const bash = (command: string): StepInput => ({ kind: 'tool_use', tools: [{ name: 'Bash', input: { command } }] });
const done: StepInput = { kind: 'text', text: 'Done' };

function denials(events: readonly ExecutionEvent[]): unknown[] {
  return events.flatMap(({ type, data }) => (type === 'egress.denied' ? [data] : []));
}

const LEVELS = [
  'L1' as const,
  ...(has('landlock') ? ['L2' as const] : []),
  ...(has('bubblewrap') ? ['L3' as const] : []),
];

test.each(LEVELS)(
  'at %s a run reaches the hosts of its list, by the programs that heed a proxy, and its log says what it was refused',
  async (level) => {
    const site = await outsideSite();
    const node = `const r = await fetch('http://${site}/'); process.stdout.write('node ' + await r.text())`;
    const commands = [
      `curl -sS http://${site}/ >>out`,
      `curl -sS -o /dev/null -w 'refused %{http_code}\\n' http://denied.example/ >>out`,
      `curl -sS https://denied.example/ 2>>out; curl -sS https://denied.example/ 2>>out`,
      `node --input-type=module -e "${node}" >>out 2>&1`,
      `curl -sS --noproxy '*' --max-time 5 http://${site}/ >direct 2>&1`,
      'printenv HTTPS_PROXY >proxy',
    ];
    const { run, folder } = await executor({
      script: [bash(commands.join('; ')), done],
      env: {
        CC_ISOLATION: level,
        CC_EGRESS_PRIVATE: OUTSIDE,
        PATH: `${join(process.execPath, '..')}:${process.env.PATH}`,
      },
    });
    const { execution, events } = await run({ prompt: 'x', workspace: 'out', egress: [site], allowedTools: ['Bash'] });
    expect(execution.outcome?.kind).toBe('succeeded');
    const output = await readFile(`${folder}/data/workspaces/local/out/out`, 'utf8');
    expect(output.split('\n').slice(0, 2)).toEqual(['hello from outside', 'refused 403']);
    expect(output.match(/response 403/g)).toHaveLength(2);
    expect(output).toContain('node hello from outside');
    const direct = await readFile(`${folder}/data/workspaces/local/out/direct`, 'utf8');
    expect(direct.includes('hello from outside')).toBe(level === 'L1');
    expect(denials(events)).toEqual([
      { host: 'denied.example', port: 80, reason: 'not_listed' },
      { host: 'denied.example', port: 443, reason: 'not_listed' },
    ]);
    expect(execution.egress).toEqual(level === 'L1' ? 'open' : [site]);
    if (level === 'L3') return;
    const { port, username, password } = new URL(await readFile(`${folder}/data/workspaces/local/out/proxy`, 'utf8'));
    const credential = Buffer.from(`${username}:${password}`).toString('base64');
    expect(
      await statusOf(Number(port), `CONNECT ${site} HTTP/1.1\r\nProxy-Authorization: Basic ${credential}\r\n\r\n`),
    ).toBe(407);
  },
);

/** What the proxy answers to raw bytes. */
async function statusOf(port: number, bytes: string): Promise<number> {
  const socket = connect(port, '127.0.0.1');
  socket.end(bytes);
  let answer = '';
  for await (const chunk of socket) answer += String(chunk);
  return Number(answer.split(' ')[1]);
}

const REFUSED: StepInput[] = [bash('curl -sS -o /dev/null -w "%{http_code}" http://denied.example/ >code'), done];

test('a service opens nothing unless told, and Claude Code itself asks for no host', async () => {
  const server = await testServer({ script: REFUSED });
  const { id, workspace } = await server.run({ prompt: 'x', allowedTools: ['Bash'] });
  expect(await (await server.call(`/v1/workspaces/${workspace}/files/code`)).text()).toBe('403');
  const told = (await server.stream(id)).match(/"type":"egress.denied".*$/gm);
  expect(told).toEqual([expect.stringContaining('"host":"denied.example","port":80')]);
  const { entries } = await (await server.call('/v1/audit')).json();
  expect(entries).toContainEqual(
    expect.objectContaining({
      ...{ action: 'egress.denied', subject: id, tenant: 'local', keyId: server.key.split('_')[1] },
      detail: { host: 'denied.example', port: '80', reason: 'not_listed' },
    }),
  );
});

test('a process that waited reaches what its run may, and nothing before', async () => {
  const site = await outsideSite();
  const reached: StepInput[] = [bash(`curl -sS http://${site}/ >code`), done];
  const { service, run, folder } = await executor({
    script: [done, ...reached],
    env: { CC_EGRESS: 'none', CC_EGRESS_PRIVATE: OUTSIDE },
    warmPool: 1,
  });
  const first = await waitUntil('a process that waits', () => service.warm.ready()[0]);
  await run({ prompt: 'x', allowedTools: ['Bash'] });
  const waiting = await waitUntil('one for runs like the last', () =>
    service.warm.ready().find(({ runId }) => runId !== first.runId),
  );
  const { execution, events } = await run({ prompt: 'x', allowedTools: ['Bash'], egress: [site] });
  expect(execution.workspace).toBe(waiting.runId);
  expect(denials(events)).toEqual([]);
  expect(execution.outcome?.kind).toBe('succeeded');
  expect(await readFile(`${folder}/data/workspaces/local/${execution.workspace}/code`, 'utf8')).toBe(
    'hello from outside\n',
  );
});

test('a local run without a list has no proxy in its way', async () => {
  const { run, folder } = await executor({ script: [bash('env | grep -ic proxy >count'), done] });
  const { execution } = await run({ prompt: 'x', workspace: 'open', allowedTools: ['Bash'] });
  expect(execution.egress).toBe('open');
  expect((await readFile(`${folder}/data/workspaces/local/open/count`, 'utf8')).trim()).toBe('0');
});

test('a process that waited without a proxy is not used by a run that has a list', async () => {
  const { service, run } = await executor({ warmPool: 1 });
  const waiting = await waitUntil('a process that waits', () => service.warm.ready()[0]);
  expect((await run({ prompt: 'x', egress: [] })).execution.workspace).not.toBe(waiting.runId);
});
