import type { Credential } from './credential.ts';

/** What the operator does about a credential that the model API does not take, or that could not be tried. */
export function repairOf(
  { kind, source }: Pick<Credential, 'kind' | 'source'>,
  trouble: 'refused' | 'unknown' | 'limited',
): string {
  if (trouble === 'unknown')
    return 'check the network, ANTHROPIC_BASE_URL and HTTPS_PROXY, and the log of a proxy between';
  if (trouble === 'limited') return 'wait until the limit resets, or pay with an API key (ANTHROPIC_API_KEY)';
  if (kind === 'api_key') return 'make a new API key in the console, and set ANTHROPIC_API_KEY to it';
  return source === 'CLAUDE_CODE_OAUTH_TOKEN'
    ? 'make a new token with `claude setup-token`, which gives it the scope user:inference, and set CLAUDE_CODE_OAUTH_TOKEN to it'
    : 'run `claude`, then /login, and give the service the new file; or set CLAUDE_CODE_OAUTH_TOKEN from `claude setup-token`';
}
