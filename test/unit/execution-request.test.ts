import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseExecutionRequest } from '../../src/protocol/execution-request.ts';

const refused = (input: unknown): { path: string; message: string }[] => {
  try {
    parseExecutionRequest(input);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'invalid_request' && 'data' in error) {
      return (error.data as { errors: { path: string; message: string }[] }).errors;
    }
    throw error;
  }
  return [];
};

it.each([
  ['an empty prompt', { prompt: '' }, 'prompt', /empty/],
  ['a prompt of more than 4 MiB', { prompt: 'ä'.repeat(2 * 1024 * 1024 + 1) }, 'prompt', /at most 4194304/],
  ['a NUL', { prompt: 'a\0b' }, 'prompt', /NUL character at position 1/],
  ['a lone surrogate', { prompt: 'a\ud800' }, 'prompt', /lone surrogate/],
  ['no prompt', {}, 'prompt', /./],
  ['an unknown key', { prompt: 'x', promt: 'y' }, 'promt', /not a known field/],
  ['an unknown key below', { prompt: 'x', retry: { max: 1, min: 2 } }, 'retry.min', /not a known field/],
  ['a model that is a flag', { prompt: 'x', model: '--help' }, 'model', /model name/],
  ['a tool rule that is a flag', { prompt: 'x', allowedTools: ['--add-dir'] }, 'allowedTools.0', /tool name/],
  ['a workspace that climbs', { prompt: 'x', workspace: '../x' }, 'workspace', /workspace name/],
  ['a session that is no id', { prompt: 'x', sessionId: 'nonsense' }, 'sessionId', /UUID/],
  ['a URL for a host', { prompt: 'x', egress: ['https://example.org/'] }, 'egress.0', /host alone/],
  ['a host in hex', { prompt: 'x', egress: ['example.org', '0x7f.1'] }, 'egress.1', /not a host/],
  ['a whole top-level domain', { prompt: 'x', egress: ['*.org'] }, 'egress.0', /too wide/],
  ['every host', { prompt: 'x', egress: ['*'] }, 'egress.0', /not a host/],
  ['a host that is not ASCII', { prompt: 'x', egress: ['bücher.example'] }, 'egress.0', /write xn--bcher-kva.example/],
  ['an egress port of 0', { prompt: 'x', egress: ['example.org:0'] }, 'egress.0', /not a host/],
  ['too many hosts', { prompt: 'x', egress: Array.from({ length: 101 }, () => 'example.org') }, 'egress', /100/],
  [
    'seventeen metadata',
    { prompt: 'x', metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, ''])) },
    'metadata',
    /16/,
  ],
])('%s is refused with its path', (_title, input, path, words) => {
  const issues = refused(input);
  expect(issues.map((issue) => issue.path)).toContain(path);
  expect(issues.map(({ message }) => message).join()).toMatch(words);
});

it.each([
  'ANTHROPIC_API_KEY',
  'CLAUDE_CONFIG_DIR',
  'LD_PRELOAD',
  'NODE_OPTIONS',
  'PATH',
  'path',
  'HOME',
  'BASH_ENV',
  'CC_RUN_ID',
  'PERL5LIB',
  'PERLLIB',
  'HTTPS_PROXY',
  'GIT_SSH_COMMAND',
])('the environment variable %s is refused', (name) => {
  expect(refused({ prompt: 'x', env: { [name]: '1' } })[0]?.message).toMatch(/refused/);
});

it('several wrong fields are all named at once', () => {
  expect(
    refused({ prompt: '', maxTurns: 0, nope: 1 })
      .map(({ path }) => path)
      .sort(),
  ).toEqual(['maxTurns', 'nope', 'prompt']);
});

it('a field whose capability is not built is refused as such, never ignored', () => {
  for (const field of [{ checks: [] }, { approvals: 'ask' }]) {
    expect(() => parseExecutionRequest({ prompt: 'x', ...field })).toThrow(
      expect.objectContaining({ code: 'not_implemented' }),
    );
  }
});

it('any input is parsed or refused, never a defect', () => {
  fc.assert(
    fc.property(fc.anything(), (input) => {
      refused(input);
    }),
  );
});
