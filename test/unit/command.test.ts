import fc from 'fast-check';
import { expect, test } from 'vitest';
import { claudeCommand, initializeMessage, userMessage } from '../../src/claude/command.ts';
import { parseExecutionRequest } from '../../src/protocol/execution-request.ts';

const FLAGS = [
  '-v',
  '--version',
  '-h',
  '--help',
  '-p',
  '--print',
  '--',
  '-',
  '--model',
  '--resume',
  '--continue',
  '-c',
];
const MORE = [
  '--dangerously-skip-permissions',
  '--mcp-config',
  '--settings',
  '--add-dir',
  '--system-prompt',
  '--debug',
];
const TAILS = ['', '=x', ' x', '=/etc/passwd', '\n--version', ' && id', '; id', ' $(id)', ' `id`', " '", ' "', ' \\'];
const ODD = [
  '@/etc/passwd',
  '/clear',
  '!id',
  '#',
  '\u202e',
  '\ufeff',
  '🙂'.repeat(50),
  '../'.repeat(99),
  '%s%n',
  '{{x}}',
];

/** Everything that a process is started with, for a prompt and its system prompts. */
function started(text: string): object {
  const request = parseExecutionRequest({ prompt: text, systemPrompt: text, appendSystemPrompt: text });
  const directories = { workspace: '/w', home: '/h', temp: '/t', config: '/c', options: '/o' };
  return claudeCommand({
    ...{ binary: '/claude', request, model: 'sonnet', session: { id: 's', resume: false }, directories },
    ...{ runId: 'r', gateway: { baseUrl: 'http://g', token: 't', credentialKind: 'api_key' }, inherited: {} },
  });
}

const PLAIN = started('Say hello');
const LISTED = [...FLAGS, ...MORE].flatMap((flag) => TAILS.map((tail) => flag + tail)).concat(ODD);

test(`${LISTED.length} prompts that look like options, and 500 others, change nothing of what a process is started with`, () => {
  expect(LISTED.length).toBeGreaterThan(200);
  for (const prompt of LISTED) expect([prompt, started(prompt)]).toEqual([prompt, PLAIN]);
  const anything = fc.string({ minLength: 1, maxLength: 300, unit: 'grapheme' }).filter((text) => !text.includes('\0'));
  fc.assert(
    fc.property(anything, (prompt) => void expect(started(prompt)).toEqual(PLAIN)),
    { numRuns: 500 },
  );
});

test('they go through stdin, as they are, each on one line', () => {
  for (const prompt of LISTED) {
    const turn = JSON.stringify(userMessage(prompt, 'u'));
    const options = JSON.stringify(
      initializeMessage(parseExecutionRequest({ prompt, systemPrompt: prompt }), undefined),
    );
    expect(`${turn}${options}`).not.toContain('\n');
    expect(JSON.parse(turn)).toMatchObject({ client_composed: true, message: { content: [{ text: prompt }] } });
    expect(JSON.parse(options)).toMatchObject({ request: { systemPrompt: prompt } });
  }
});
