import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { GatewayCredential } from '../../src/model-gateway/gateway-headers.ts';
import type { ModelCall } from '../../src/model-gateway/model-call.ts';
import type { ModelGateway } from '../../src/model-gateway/model-gateway.ts';
import { startModelGateway } from '../../src/model-gateway/model-gateway.ts';
import type { Script, ScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { gatewayRun } from '../support/gateway-run.ts';
import type { ClaudeRun } from '../support/run-claude.ts';
import { runClaude } from '../support/run-claude.ts';

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) {
    await close();
  }
});

type Kind = GatewayCredential['kind'];
const SECRET = 'real-credential-that-no-run-may-see';

interface Setup {
  model: ScriptedModel;
  gateway: ModelGateway;
  token: string;
  calls: ModelCall[];
  run(prompts: string[], flags?: string[]): Promise<ClaudeRun>;
}

async function setup(
  kind: Kind,
  script: Script,
  options: { socket?: boolean; maxBudgetUsd?: number; expected?: string } = {},
): Promise<Setup> {
  const model = await startScriptedModel({ script, credential: options.expected ?? SECRET });
  closing.push(() => model.close());
  const directory = await mkdtemp(join(tmpdir(), 'cc-gw-'));
  closing.push(() => rm(directory, { recursive: true }));
  const path = join(directory, 'm.sock');
  const gateway = await startModelGateway({
    upstream: model.url,
    listen: options.socket === true ? { path } : { host: '127.0.0.1', port: 0 },
  });
  closing.push(() => gateway.close());
  const token = gateway.issueToken();
  const calls: ModelCall[] = [];
  const budget = options.maxBudgetUsd === undefined ? {} : { maxBudgetUsd: options.maxBudgetUsd };
  const credential = { kind, current: async () => SECRET };
  gateway.attach(token, gatewayRun({ credential, ...budget, onCall: (call) => calls.push(call) }));
  const env = {
    ANTHROPIC_BASE_URL: gateway.baseUrl,
    ...(options.socket === true && { ANTHROPIC_UNIX_SOCKET: path }),
    ...(kind === 'api_key' ? { ANTHROPIC_API_KEY: token } : { CLAUDE_CODE_OAUTH_TOKEN: token }),
  };
  const run = (prompts: string[], flags: string[] = []) => runClaude({ prompts, env, flags });
  return { model, gateway, token, calls, run };
}

function bash(command: string, inputTokens = 12): StepInput {
  return { kind: 'tool_use', tools: [{ name: 'Bash', input: { command } }], usage: { inputTokens } };
}

describe.each<[Kind, string, boolean]>([
  ['api_key', 'TCP', false],
  ['max', 'TCP', false],
  ['api_key', 'a unix socket', true],
  ['max', 'a unix socket', true],
])('the real CLI with a credential of kind %s over %s', (kind, _door, socket) => {
  test('works through the gateway, and the gateway counts the cost the CLI counts', async () => {
    const script: Script = [
      bash('env; cat /proc/$PPID/environ'),
      { kind: 'text', text: 'All done', usage: { inputTokens: 4321 } },
    ];
    const { run, calls, model, token } = await setup(kind, script, { socket });
    const { results, lines, exitCode } = await run(['Look around'], ['--allowedTools', 'Bash']);
    expect(results).toMatchObject([{ is_error: false, result: 'All done' }]);
    expect(exitCode).toBe(0);
    const printed = JSON.stringify(lines);
    expect(printed).toContain('CLAUDE_CONFIG_DIR');
    expect(printed).not.toContain(SECRET);
    expect(JSON.stringify(model.requests)).not.toContain(`"${token}"`);
    const header = kind === 'api_key' ? 'x-api-key' : 'authorization';
    expect(model.requests[0]?.headers[header]).toContain(SECRET);
    expect(calls).toMatchObject([{ status: 200 }, { status: 200, usage: { inputTokens: 4321 } }]);
    const counted = calls.reduce((sum, call) => sum + call.costUsd, 0);
    expect(counted).toBeCloseTo(z.number().parse(results[0]?.total_cost_usd), 10);
  });
});

describe.each<Kind>(['api_key', 'max'])('with a credential of kind %s the real CLI', (kind) => {
  test.each([401, 403])(
    'ends without the usual retries when the API refuses the credential with %i',
    async (status) => {
      const { run, model, calls } = await setup(kind, [{ kind: 'http_error', status, type: 'authentication_error' }]);
      const { results } = await run(['Hello']);
      expect(results).toMatchObject([{ is_error: true, api_error_status: status }]);
      expect(model.requests.length).toBe(calls.length);
      expect(calls.every((call) => call.refusal === 'credential')).toBe(true);
      // In its OAuth mode the CLI asks once more after a 401, whatever `x-should-retry` says (2.1.330).
      expect(model.requests).toHaveLength(kind === 'max' && status === 401 ? 2 : 1);
    },
  );

  test('ends in one refused request when the budget is spent', async () => {
    const script: Script = [bash('true', 60_000)];
    const { run, model, calls } = await setup(kind, script, { maxBudgetUsd: 0.1 });
    const { results } = await run(['Hello'], ['--allowedTools', 'Bash']);
    expect(results).toMatchObject([
      { is_error: true, api_error_status: 402, result: expect.stringContaining('budget') },
    ]);
    expect(model.requests).toHaveLength(1);
    expect(calls.map((call) => call.refusal)).toEqual([null, 'budget']);
  });

  test('is refused with the token of a run that is over', async () => {
    const { run, gateway, token, model } = await setup(kind, [{ kind: 'text', text: 'no' }]);
    gateway.detach(token);
    const { results } = await run(['Hello']);
    expect(results).toMatchObject([{ is_error: true, api_error_status: 401 }]);
    expect(model.requests).toHaveLength(0);
  });
});

test('a reset in mid-stream makes the real CLI ask again, and both calls are counted', async () => {
  const script: Script = [
    { kind: 'reset', text: 'Half an ans' },
    { kind: 'text', text: 'The whole answer' },
  ];
  const { run, calls } = await setup('api_key', script);
  const { results } = await run(['Hello']);
  expect(results).toMatchObject([{ is_error: false, result: 'The whole answer' }]);
  expect(calls).toMatchObject([
    { end: 'upstream_failed', estimated: true },
    { end: 'complete', estimated: false },
  ]);
});

test('an answer of 20 MB reaches the real CLI whole', async () => {
  const { run, calls } = await setup('api_key', [{ kind: 'huge_text', bytes: 20_000_000 }]);
  const { results } = await run(['Hello']);
  expect(z.string().parse(results[0]?.result).length).toBeGreaterThan(19_999_000);
  expect(calls).toMatchObject([{ end: 'complete' }]);
});

test('a warm process serves two runs one after the other with one token', async () => {
  const { run, gateway, token, calls } = await setup('api_key', ({ n }) => {
    if (n === 1) {
      gateway.detach(token);
      gateway.attach(
        token,
        gatewayRun({
          executionId: 'e2',
          credential: { kind: 'api_key', current: async () => SECRET },
          onCall: (call) => calls.push(call),
        }),
      );
    }
    return { kind: 'text', text: 'ok' };
  });
  await run(['One', 'Two', 'Three']);
  expect(calls.some((call) => call.executionId === 'e2')).toBe(true);
});
