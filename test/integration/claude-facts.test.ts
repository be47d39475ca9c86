import { createServer } from 'node:http';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, it, onTestFinished } from 'vitest';
import { PINNED_VERSION } from '../../src/claude/binary.ts';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import type { StepInput } from '../../src/scripted-model/steps.ts';
import { CLAUDE_BIN, claudeEnv } from '../support/run-claude.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/*
 * What this release relies on in the pinned program. When a test here fails after PINNED_VERSION moved, its title names
 * what changed; docs/adr/0002 says where that fact is used.
 */

interface Talk {
  lines: Record<string, unknown>[];
  stdout: string;
  stderr: string;
  exitCode: number | undefined;
}

async function talk(
  input: (object | string)[],
  { flags = [], env = {}, script }: { flags?: string[]; env?: Record<string, string>; script?: StepInput[] } = {},
): Promise<Talk & { requests: { path: string; body: unknown }[] }> {
  const model = await startScriptedModel({ script: script ?? [{ kind: 'text', text: 'Hello' }] });
  onTestFinished(() => model.close());
  const folder = await temporaryFolder();
  const fixed = [
    '--input-format=stream-json',
    '--output-format=stream-json',
    '--verbose',
    '--model=sonnet',
    '--setting-sources=',
  ];
  const { stdout, stderr, exitCode } = await execa(CLAUDE_BIN, [...fixed, ...flags], {
    cwd: folder,
    extendEnv: false,
    env: { ...claudeEnv(folder), ANTHROPIC_API_KEY: 'sk-ant-api03-test', ANTHROPIC_BASE_URL: model.url, ...env },
    input: input.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''),
    reject: false,
    timeout: 60_000,
  });
  const lines = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
  return {
    lines,
    stdout,
    stderr,
    exitCode,
    requests: model.requests.filter(({ path }) => path.startsWith('/v1/messages')),
  };
}

const user = (text: string, more: object = { client_composed: true }): object => ({
  type: 'user',
  message: { role: 'user', content: [{ type: 'text', text }] },
  parent_tool_use_id: null,
  session_id: '',
  ...more,
});
const control = (request: object): object => ({ type: 'control_request', request_id: 'r1', request });
const last = ({ lines }: Talk, type: string) => lines.findLast((line) => line.type === type);

it('the pinned version is the installed one', async () => {
  expect((await execa(CLAUDE_BIN, ['--version'])).stdout).toBe(`${PINNED_VERSION} (Claude Code)`);
});

it('every flag that is used is accepted', async () => {
  const flags = [
    '--include-partial-messages',
    '--fallback-model=haiku',
    '--permission-mode=acceptEdits',
    '--strict-mcp-config',
    '--session-id=01a21146-cfdf-7076-ad33-58a836038646',
    '--max-turns=3',
    '--max-budget-usd=5',
    '--tools=Bash,Read',
    '--allowedTools',
    'Bash(echo *)',
    'Read',
    '--disallowedTools',
    'SendMessage',
    'Write',
  ];
  const said = await talk([user('hi')], { flags });
  expect(said.stderr).toBe('');
  expect(last(said, 'result')).toMatchObject({ is_error: false, terminal_reason: 'completed', queued_turn_count: 0 });
  expect(last(said, 'result')).toMatchObject({ session_id: '01a21146-cfdf-7076-ad33-58a836038646' });
});

it('initialize is answered, takes system prompts and a schema, and the prompt may be written right behind it', async () => {
  const initialize = control({
    subtype: 'initialize',
    appendSystemPrompt: 'APPENDED WORDS',
    jsonSchema: { type: 'object', properties: { a: { type: 'number' } } },
  });
  const said = await talk([initialize, user('hi')]);
  expect(last(said, 'control_response')).toMatchObject({ response: { subtype: 'success', request_id: 'r1' } });
  const sent = JSON.stringify(said.requests[0]?.body);
  expect(sent).toContain('APPENDED WORDS');
  expect(sent).toContain('StructuredOutput');
});

it('a whole system prompt takes the place of the own one', async () => {
  const said = await talk([control({ subtype: 'initialize', systemPrompt: 'ONLY THIS' }), user('hi')]);
  expect(JSON.stringify(said.requests[0]?.body)).toContain('ONLY THIS');
});

it('client_composed makes a prompt literal', async () => {
  const literal = await talk([user('/clear @/etc/hostname')]);
  expect(JSON.stringify(literal.requests[0]?.body)).toContain('/clear @/etc/hostname');
  const command = await talk([user('/clear', {})]);
  expect(JSON.stringify(command.requests.map(({ body }) => body))).not.toContain('"/clear"');
});

it('a schema that draft-07 strict rules refuse makes the output tool vanish', async () => {
  const jsonSchema = { type: 'object', unevaluatedProperties: false };
  const said = await talk([control({ subtype: 'initialize', jsonSchema }), user('hi')]);
  expect(JSON.stringify(said.requests[0]?.body)).not.toContain('StructuredOutput');
});

it('402 with x-should-retry false ends at once, with the message', async () => {
  let calls = 0;
  const server = createServer((_request, response) => {
    calls += 1;
    response.writeHead(402, { 'content-type': 'application/json', 'x-should-retry': 'false' });
    response.end('{"type":"error","error":{"type":"billing_error","message":"the budget is spent"}}');
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const said = await talk([user('hi')], { env: { ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}` } });
  expect(last(said, 'result')).toMatchObject({ is_error: true, api_error_status: 402 });
  expect(JSON.stringify(last(said, 'result'))).toContain('the budget is spent');
  expect(calls).toBe(1);
});

it('the model is reached through a unix socket', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'm.sock');
  let asked = '';
  const server = createServer((request, response) => {
    asked = request.url ?? '';
    response.writeHead(400, { 'content-type': 'application/json', 'x-should-retry': 'false' });
    response.end('{"type":"error","error":{"type":"invalid_request_error","message":"reached"}}');
  }).listen(path);
  onTestFinished(() => void server.close());
  await talk([user('hi')], { env: { ANTHROPIC_UNIX_SOCKET: path, ANTHROPIC_BASE_URL: 'http://gateway.invalid' } });
  expect(asked).toBe('/v1/messages?beta=true');
});

it('an API error calls itself subtype success and is_error at once, and exits 1', async () => {
  const script: StepInput[] = [{ kind: 'http_error', status: 400, type: 'invalid_request_error' }];
  const said = await talk([user('hi')], { script });
  expect(last(said, 'result')).toMatchObject({
    subtype: 'success',
    is_error: true,
    terminal_reason: 'api_error',
    api_error_status: 400,
  });
  expect(said.exitCode).toBe(1);
});

it('an unknown session to resume is an error result', async () => {
  const said = await talk([user('hi')], { flags: ['--resume=00000000-0000-4000-8000-000000000000'] });
  expect(last(said, 'result')).toMatchObject({ is_error: true, subtype: 'error_during_execution' });
});

it('a line on stdin that is no JSON ends the program with exit 1', async () => {
  const said = await talk(['this is no JSON']);
  expect(said.exitCode).toBe(1);
});
