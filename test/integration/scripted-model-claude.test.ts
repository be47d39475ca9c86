import { afterEach, expect, test } from 'vitest';
import type { Script, ScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import { startScriptedModel } from '../../src/scripted-model/scripted-model.ts';
import type { ClaudeRun } from '../support/run-claude.ts';
import { runClaude } from '../support/run-claude.ts';

const open: ScriptedModel[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((model) => model.close()));
});

async function play(script: Script, flags: string[] = []): Promise<ClaudeRun & { model: ScriptedModel }> {
  const model = await startScriptedModel({ script });
  open.push(model);
  const env = { ANTHROPIC_BASE_URL: model.url, ANTHROPIC_API_KEY: 'k' };
  return { ...(await runClaude({ prompts: ['Do it'], env, flags })), model };
}

test('the real CLI thinks, calls two tools at once and answers, one request a step', async () => {
  const { results, lines, model } = await play(
    [
      {
        kind: 'tool_use',
        text: 'Two at once',
        tools: [
          { name: 'Bash', input: { command: 'echo first-$((40+2))' } },
          { name: 'Bash', input: { command: 'echo second-$((40+3))' } },
        ],
      },
      { kind: 'text', thinking: 'They both ran', text: 'Both ran.' },
    ],
    ['--allowedTools', 'Bash'],
  );
  expect(results).toMatchObject([{ is_error: false, result: 'Both ran.' }]);
  expect(model.requests).toHaveLength(2);
  const printed = JSON.stringify(lines);
  expect([printed.includes('first-42'), printed.includes('second-43'), printed.includes('They both ran')]).toEqual([
    true,
    true,
    true,
  ]);
});

test('a structured output reaches the result of the real CLI', async () => {
  const schema = { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] };
  const { results } = await play(
    [
      { kind: 'structured_output', output: { ok: true } },
      { kind: 'text', text: 'done' },
    ],
    ['--json-schema', JSON.stringify(schema)],
  );
  expect(results).toMatchObject([{ is_error: false, structured_output: { ok: true } }]);
});

test('an overloaded API is asked again, and a refusal is an error of the run', async () => {
  const retried = await play([
    { kind: 'http_error', status: 529, type: 'overloaded_error' },
    { kind: 'text', text: 'Here now' },
  ]);
  expect(retried.results).toMatchObject([{ is_error: false, result: 'Here now' }]);
  expect(retried.lines.map((line) => line.subtype)).toContain('api_retry');
  const refused = await play([{ kind: 'refusal' }]);
  expect(refused.results).toMatchObject([{ is_error: true }]);
});
