import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import type { z } from 'zod';
import type { EgressList } from './protocol/egress-rule.ts';
import type { UsageLimits } from './protocol/key-schemas.ts';
import type { LentWorkspaces } from './protocol/lent-workspaces.ts';
import { settingConflicts } from './setting-conflicts.ts';
import { SETTINGS } from './settings.ts';

export interface Config {
  readonly credentials: {
    readonly apiKey: string | undefined;
    readonly oauthToken: string | undefined;
    readonly credentialsFile: string | undefined;
    /** CLAUDE_CONFIG_DIR and HOME of whoever started the service: where their own login lies. */
    readonly configDir: string | undefined;
    readonly home: string;
    readonly allowMax: boolean;
  };
  /** Whether a caller's own Claude credential is a key. */
  readonly callerCredentials: boolean;
  readonly envelopeKey: string | undefined;
  /** US dollars for each tenant. */
  readonly spendPerDayUsd: number | undefined;
  readonly upstream: string;
  readonly proxy: Readonly<{ httpsProxy?: string; httpProxy?: string; noProxy?: string }>;
  readonly dataDirectory: string;
  readonly server: {
    readonly host: string;
    readonly port: number;
    readonly allowedOrigins: readonly string[];
    readonly trustProxy: boolean | string[];
    readonly maxConnections: number;
    readonly drainMs: number;
  };
  /** The store and queue that several processes share; undefined for the embedded store. */
  readonly redisUrl: string | undefined;
  readonly redisPersistence: 'required' | 'optional';
  readonly spoolBytes: number;
  /** `api` accepts, `worker` runs, `all` does both. */
  readonly role: 'all' | 'api' | 'worker';
  readonly auth: {
    /** Whether a caller has to present something. */
    readonly on: boolean;
    /** Undefined for one that the service makes and keeps in the store. */
    readonly jwtSecret: string | undefined;
    /** The operator's own issuer of tokens; one of `jwks` and `publicKey` is set. */
    readonly issuer:
      | {
          readonly name: string;
          readonly audience: string;
          readonly jwks: string | undefined;
          readonly publicKey: string | undefined;
        }
      | undefined;
  };
  /** A key that the operator chose; for the command line, the one it presents. */
  readonly apiKey: string | undefined;
  /** The service that the command line talks to. */
  readonly clientUrl: string | undefined;
  readonly workspaceQuotaBytes: number;
  readonly claudeBin: string | undefined;
  readonly runUid: number;
  readonly isolation: 'auto' | 'L1' | 'L2' | 'L3';
  /** What runs reach besides the model when their request does not say; undefined where nobody has decided. */
  readonly egress: EgressList | undefined;
  /** Addresses they may reach although they are not public. */
  readonly egressPrivate: readonly string[];
  /** What each key may use up when it has no limits of its own, and each tenant; undefined for no limit. */
  readonly limits: { readonly key: Readonly<UsageLimits>; readonly tenant: Readonly<UsageLimits> };
  /** Wrong keys in a minute after which an address is refused. */
  readonly wrongKeyLimit: number;
  readonly box: { readonly sockets: 'strict' | 'all'; readonly readable: readonly string[] };
  readonly defaultModel: string;
  readonly lentWorkspaces: LentWorkspaces;
  readonly maxConcurrent: number;
  readonly queueLimit: number;
  /** Processes started ahead of the runs that will use them. */
  readonly warmPool: number;
  readonly timeLimitMs: number;
  readonly stallAfterMs: number;
  readonly maxLineBytes: number;
  readonly maxLogBytes: number;
  readonly retention: {
    readonly logDays: number;
    readonly recordDays: number;
    readonly maxLogBytes: number;
    readonly auditDays: number;
  };
  /** Every secret among the settings, so that none reaches a log line. */
  readonly secrets: readonly string[];
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** The names of the settings that were given, for the audit log. */
  readonly settingNames: readonly string[];
  /** False where NO_COLOR asks for none. */
  readonly colour: boolean;
  /** What a run inherits of the service's own environment: where programs are, language, time zone, certificates. */
  readonly inherited: Readonly<Record<string, string>>;
}

/** Every wrong variable at once; the message never holds a value. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`The configuration cannot be used:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Each has a variable beside it, with `_FILE` behind its name, which names a file that holds the value. */
const SECRETS = [
  ...['CC_API_KEY', 'CC_JWT_SECRET', 'CC_JWT_PUBLIC_KEY', 'CC_ENVELOPE_KEY'],
  ...['ANTHROPIC_API_KEY', 'CLAUDE_CODE_OAUTH_TOKEN', 'REDIS_URL'],
];
const MAX_SECRET_BYTES = 64 * 1024;

const INHERITED = ['PATH', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'];

type Settings = { [K in keyof typeof SETTINGS]: z.output<(typeof SETTINGS)[K]['schema']> };

/**
 * Reads the environment, once, at start. An empty variable counts as unset.
 * @throws ConfigError
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const set = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const files = readSecretFiles(set);
  const env = { ...set, ...files.values };
  const parsed = Object.entries(SETTINGS).map(([name, { schema }]) => ({ name, ...schema.safeParse(env[name]) }));
  const wrong = parsed.flatMap(({ name, error }) => error?.issues.map(({ message }) => `${name} ${message}`) ?? []);
  const wrongNames = new Set(parsed.flatMap(({ name, success }) => (success ? [] : [name])));
  // The entries are those of SETTINGS, which the compiler cannot follow through Object.entries.
  const settings = Object.fromEntries(parsed.map(({ name, data }) => [name, data])) as Settings;
  const problems = [...wrong, ...files.problems, ...settingConflicts(settings, wrongNames)];
  if (problems.length > 0) throw new ConfigError(problems);
  const home = env.HOME ?? homedir();
  const dataHome = env.XDG_DATA_HOME ?? join(home, '.local', 'share');
  const inherited = Object.fromEntries(
    INHERITED.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])),
  );
  return Object.freeze({
    credentials: {
      apiKey: settings.ANTHROPIC_API_KEY,
      oauthToken: settings.CLAUDE_CODE_OAUTH_TOKEN,
      credentialsFile: settings.CC_CLAUDE_CREDENTIALS,
      configDir: env.CLAUDE_CONFIG_DIR,
      home,
      allowMax: settings.CC_ALLOW_MAX !== 'off',
    },
    callerCredentials: settings.CC_CALLER_CREDENTIALS === 'on',
    envelopeKey: settings.CC_ENVELOPE_KEY,
    spendPerDayUsd: settings.CC_SPEND_PER_DAY_USD,
    upstream: settings.ANTHROPIC_BASE_URL,
    proxy: {
      ...given('httpsProxy', settings.HTTPS_PROXY ?? env.https_proxy),
      ...given('httpProxy', settings.HTTP_PROXY ?? env.http_proxy),
      ...given('noProxy', settings.NO_PROXY ?? env.no_proxy),
    },
    dataDirectory: resolve(settings.CC_DATA_DIR ?? join(dataHome, 'cc-executor')),
    server: {
      host: settings.CC_HOST,
      port: settings.CC_PORT,
      allowedOrigins: settings.CC_ALLOWED_ORIGINS,
      trustProxy: settings.CC_TRUST_PROXY,
      maxConnections: settings.CC_MAX_CONNECTIONS,
      drainMs: settings.CC_DRAIN_MS,
    },
    auth: {
      on: settings.CC_AUTH !== 'off',
      jwtSecret: settings.CC_JWT_SECRET,
      issuer: issuerOf(settings),
    },
    apiKey: settings.CC_API_KEY,
    clientUrl: settings.CC_URL,
    redisUrl: settings.REDIS_URL,
    redisPersistence: settings.CC_REDIS_PERSISTENCE,
    spoolBytes: settings.CC_SPOOL_BYTES,
    role: settings.CC_ROLE,
    workspaceQuotaBytes: settings.CC_WORKSPACE_QUOTA_BYTES,
    claudeBin: settings.CLAUDE_BIN,
    runUid: settings.CC_RUN_UID,
    isolation: settings.CC_ISOLATION,
    egress: settings.CC_EGRESS,
    egressPrivate: settings.CC_EGRESS_PRIVATE,
    limits: {
      key: {
        concurrentRuns: settings.CC_LIMIT_CONCURRENT_RUNS,
        startsPerMinute: settings.CC_LIMIT_STARTS_PER_MINUTE,
        bytesPerDay: settings.CC_LIMIT_BYTES_PER_DAY,
      },
      tenant: {
        concurrentRuns: settings.CC_LIMIT_TENANT_CONCURRENT_RUNS,
        startsPerMinute: settings.CC_LIMIT_TENANT_STARTS_PER_MINUTE,
        bytesPerDay: settings.CC_LIMIT_TENANT_BYTES_PER_DAY,
      },
    },
    wrongKeyLimit: settings.CC_LIMIT_WRONG_KEYS,
    box: { sockets: settings.CC_BOX_SOCKETS, readable: settings.CC_BOX_READABLE },
    defaultModel: settings.CC_DEFAULT_MODEL,
    lentWorkspaces: settings.CC_WORKSPACES,
    maxConcurrent: settings.CC_MAX_CONCURRENT,
    queueLimit: settings.CC_QUEUE_LIMIT,
    warmPool: settings.CC_WARM_POOL,
    timeLimitMs: settings.CC_TIME_LIMIT_MS,
    stallAfterMs: settings.CC_STALL_AFTER_MS,
    maxLineBytes: settings.CC_MAX_LINE_BYTES,
    maxLogBytes: settings.CC_MAX_LOG_BYTES,
    retention: {
      logDays: settings.CC_RETENTION_DAYS,
      recordDays: settings.CC_RECORD_RETENTION_DAYS,
      maxLogBytes: settings.CC_RETENTION_BYTES,
      auditDays: settings.CC_AUDIT_RETENTION_DAYS,
    },
    secrets: SECRETS.flatMap((name) => secretParts(env[name])),
    logLevel: settings.CC_LOG_LEVEL,
    settingNames: Object.keys(set).filter((name) => Object.hasOwn(SETTINGS, name)),
    colour: env.NO_COLOR === undefined,
    inherited: { PATH: '/usr/local/bin:/usr/bin:/bin', ...inherited },
  });
}

/** What is secret in a value: of a URL its password, else all of it. */
function secretParts(value: string | undefined): string[] {
  if (value === undefined) return [];
  if (!/^[a-z]+:\/\//.test(value) || !URL.canParse(value)) return [value];
  const { password } = new URL(value);
  return password === '' ? [] : [password, decoded(password)];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

function issuerOf(settings: Settings): Config['auth']['issuer'] {
  const { CC_JWT_ISSUER: name, CC_JWT_AUDIENCE: audience, CC_JWT_JWKS: jwks, CC_JWT_PUBLIC_KEY: publicKey } = settings;
  return name === undefined || audience === undefined ? undefined : { name, audience, jwks, publicKey };
}

/** What stands in the files that `…_FILE` variables name, under the names of the variables they stand for. */
function readSecretFiles(env: Readonly<Record<string, string | undefined>>): {
  values: Record<string, string>;
  problems: string[];
} {
  const values: Record<string, string> = {};
  const problems: string[] = [];
  for (const name of SECRETS) {
    const path = env[`${name}_FILE`];
    if (path === undefined) continue;
    const read = env[name] === undefined ? readSecret(path) : { problem: `and ${name} are both set; unset one` };
    if ('problem' in read) problems.push(`${name}_FILE ${read.problem}`);
    else values[name] = read.secret;
  }
  return { values, problems };
}

function readSecret(path: string): { secret: string } | { problem: string } {
  try {
    const status = statSync(path);
    if (!status.isFile()) return { problem: `names ${path}, which is not a file` };
    if (status.size > MAX_SECRET_BYTES) return { problem: `names ${path}, which is longer than any key` };
    const secret = readFileSync(path, 'utf8').trim();
    return secret === '' ? { problem: `names ${path}, which is empty` } : { secret };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { problem: `names ${path}, which does not exist` };
    if (code !== 'EACCES') throw error;
    const who = process.getuid === undefined ? 'this user' : `uid ${process.getuid()}`;
    return { problem: `names ${path}, which ${who} may not read; chown it to that user, or open it with chmod` };
  }
}

function given<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } satisfies Record<string, string> as { [P in K]?: string });
}

/** The text of `.env.example`: every setting, commented out, with what it means. */
export function envExample(): string {
  const entries = Object.entries(SETTINGS).map(([name, { example, help }]) => `# ${help}\n# ${name}=${example}\n`);
  return `# Settings of CC Executor, read from the environment. Generated from src/config.ts by npm run fix.\n\n${entries.join('\n')}`;
}
