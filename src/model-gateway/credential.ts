import { join } from 'node:path';
import type { GatewayCredential } from './gateway-headers.ts';
import { isHeaderSafe, readLogin } from './login-file.ts';
import type { RunCli } from './login-keeper.ts';
import { LoginKeeper } from './login-keeper.ts';

export type CredentialSource = 'ANTHROPIC_API_KEY' | 'CLAUDE_CODE_OAUTH_TOKEN' | 'CC_CLAUDE_CREDENTIALS' | 'login';

/** The operator's one credential. Only `current()` gives the secret away. */
export interface Credential extends GatewayCredential {
  source: CredentialSource;
  /** One line for logs and people, without any secret. */
  describe(): string;
  /** When the secret in use ends, in milliseconds since the epoch; `undefined` where it does not say. */
  validUntil?: number | undefined;
}

export interface CredentialProblem {
  code:
    | 'missing'
    | 'unreadable'
    | 'not_json'
    | 'no_login'
    | 'signed_out'
    | 'scope'
    | 'expired'
    | 'max_not_allowed'
    | 'malformed'
    | 'wrong_variable';
  /** What is wrong, and what to do; without any secret. */
  message: string;
}

export type CredentialFound =
  | { ok: true; credential: Credential }
  | { ok: false; problem: CredentialProblem; source: CredentialSource | null };

/** Where a credential may stand. An empty value counts as not set, as it does for the CLI. */
export interface CredentialSources {
  apiKey?: string | undefined;
  oauthToken?: string | undefined;
  /** `CC_CLAUDE_CREDENTIALS`: the path of a mounted `.credentials.json`. */
  credentialsFile?: string | undefined;
  /** `CLAUDE_CONFIG_DIR` of the user's own `claude`. */
  configDir?: string | undefined;
  /** The user's home folder; their own login is `.claude/.credentials.json` in it. */
  home?: string | undefined;
  /** `CC_ALLOW_MAX`. */
  allowMax: boolean;
  /** The service's private folder, where a refreshed login is kept that cannot be written back. */
  dataDir: string;
  /** Runs the CLI, which refreshes a login. */
  runCli: RunCli;
}

/**
 * The operator's credential: exactly one wins, in the order `ANTHROPIC_API_KEY`, `CLAUDE_CODE_OAUTH_TOKEN`,
 * `CC_CLAUDE_CREDENTIALS`, the user's own login. What is set but cannot be used is a problem; the next one is not
 * taken in its place, because it may be another account.
 */
export async function findCredential(sources: CredentialSources): Promise<CredentialFound> {
  if (isSet(sources.apiKey)) {
    return fixedCredential(sources.apiKey, { kind: 'api_key', source: 'ANTHROPIC_API_KEY' });
  }
  if (isSet(sources.oauthToken)) {
    return sources.allowMax
      ? fixedCredential(sources.oauthToken, { kind: 'max', source: 'CLAUDE_CODE_OAUTH_TOKEN' })
      : maxNotAllowed('CLAUDE_CODE_OAUTH_TOKEN');
  }
  if (isSet(sources.credentialsFile)) {
    return sources.allowMax
      ? keptLogin(sources.credentialsFile, { sources, source: 'CC_CLAUDE_CREDENTIALS' })
      : maxNotAllowed('CC_CLAUDE_CREDENTIALS');
  }
  return ownLogin(sources);
}

async function ownLogin(sources: CredentialSources): Promise<CredentialFound> {
  const folder = isSet(sources.configDir) ? sources.configDir : isSet(sources.home) && join(sources.home, '.claude');
  if (folder === false) {
    return noCredential();
  }
  const file = join(folder, '.credentials.json');
  const read = await readLogin(file);
  if (!read.ok && read.problem.code === 'missing') {
    return noCredential();
  }
  return sources.allowMax ? keptLogin(file, { sources, source: 'login' }) : maxNotAllowed('login');
}

async function keptLogin(
  file: string,
  { sources, source }: { sources: CredentialSources; source: CredentialSource },
): Promise<CredentialFound> {
  const keeper = new LoginKeeper({ file, dataDir: sources.dataDir, runCli: sources.runCli });
  const read = await keeper.load();
  if (!read.ok) {
    return { ok: false, problem: read.problem, source };
  }
  if (read.login.expiresAt <= Date.now() && read.login.refreshToken === '') {
    const message = `The login in ${file} has expired and cannot be refreshed. Run \`claude\`, then /login; or \`claude setup-token\`.`;
    return { ok: false, problem: { code: 'expired', message }, source };
  }
  const credential: Credential = {
    kind: 'max',
    source,
    describe: () => `a Claude Max login (${file}), ${validity(keeper.validUntil)}`,
    get validUntil() {
      return keeper.validUntil;
    },
    current: () => keeper.current(),
    refresh: (rejected) => keeper.refresh(rejected),
  };
  return { ok: true, credential };
}

function fixedCredential(
  secret: string,
  { kind, source }: { kind: GatewayCredential['kind']; source: 'ANTHROPIC_API_KEY' | 'CLAUDE_CODE_OAUTH_TOKEN' },
): CredentialFound {
  const problem = shapeProblem(secret, source);
  if (problem !== undefined) {
    return { ok: false, problem, source };
  }
  const what = kind === 'api_key' ? 'an API key' : 'a Claude Max token';
  const credential: Credential = {
    kind,
    source,
    describe: () => `${what} (${source})`,
    current: () => Promise.resolve(secret),
  };
  return { ok: true, credential };
}

function shapeProblem(secret: string, source: CredentialSource): CredentialProblem | undefined {
  if (!isHeaderSafe(secret)) {
    const message = `${source} holds spaces, line breaks or characters that no key has. Set it again, without quotes.`;
    return { code: 'malformed', message };
  }
  if (source === 'ANTHROPIC_API_KEY' && secret.startsWith('sk-ant-oat')) {
    const message = 'ANTHROPIC_API_KEY holds a Claude Max token. Put it in CLAUDE_CODE_OAUTH_TOKEN and unset this one.';
    return { code: 'wrong_variable', message };
  }
  if (source === 'CLAUDE_CODE_OAUTH_TOKEN' && secret.startsWith('sk-ant-api')) {
    const message = 'CLAUDE_CODE_OAUTH_TOKEN holds an API key. Put it in ANTHROPIC_API_KEY and unset this one.';
    return { code: 'wrong_variable', message };
  }
  if (secret.startsWith('sk-ant-ort')) {
    const message = `${source} holds a refresh token. Run \`claude setup-token\` and take the token it prints.`;
    return { code: 'wrong_variable', message };
  }
  return undefined;
}

function maxNotAllowed(source: CredentialSource): CredentialFound {
  const message =
    'A Claude Max login is configured, but CC_ALLOW_MAX is off. Set ANTHROPIC_API_KEY, or CC_ALLOW_MAX=on to use your own Max account.';
  return { ok: false, problem: { code: 'max_not_allowed', message }, source };
}

function noCredential(): CredentialFound {
  const message =
    'There is no Claude credential. Set ANTHROPIC_API_KEY; or, for your own Max account, CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`), CC_CLAUDE_CREDENTIALS, or sign in with `claude`, then /login.';
  return { ok: false, problem: { code: 'missing', message }, source: null };
}

function validity(until: number | undefined): string {
  return until === undefined ? 'without a known end' : `valid until ${new Date(until).toISOString()}`;
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}
