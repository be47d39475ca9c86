import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
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
  /** A key that the operator chose; for the command line, the one it presents. */
  readonly apiKey: string | undefined;
  /** The service that the command line talks to. */
  readonly clientUrl: string | undefined;
  readonly workspaceQuotaBytes: number;
  readonly claudeBin: string | undefined;
  readonly runUid: number;
  readonly isolation: 'auto' | 'L1' | 'L2' | 'L3';
  readonly box: { readonly sockets: 'strict' | 'all'; readonly readable: readonly string[] };
  readonly defaultModel: string;
  readonly lentWorkspaces: Readonly<Record<string, string>>;
  readonly maxConcurrent: number;
  readonly queueLimit: number;
  /** Processes started ahead of the runs that will use them. */
  readonly warmPool: number;
  readonly timeLimitMs: number;
  readonly stallAfterMs: number;
  readonly maxLineBytes: number;
  readonly maxLogBytes: number;
  readonly retention: { readonly logDays: number; readonly recordDays: number; readonly maxLogBytes: number };
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
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
const SECRETS = ['CC_API_KEY', 'ANTHROPIC_API_KEY', 'CLAUDE_CODE_OAUTH_TOKEN', 'REDIS_URL'];
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
  const shape = Object.fromEntries(Object.entries(SETTINGS).map(([name, setting]) => [name, setting.schema]));
  const parsed = z.object(shape).safeParse(env);
  const wrong = parsed.error?.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`) ?? [];
  if (!parsed.success || files.problems.length > 0) throw new ConfigError([...wrong, ...files.problems]);
  // The shape is SETTINGS itself, which the compiler cannot follow through Object.entries.
  const settings = parsed.data as Settings;
  if (settings.CC_ROLE !== 'all' && settings.REDIS_URL === undefined) {
    throw new ConfigError([`CC_ROLE is ${settings.CC_ROLE}, which needs REDIS_URL: roles share a store and a queue`]);
  }
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
    },
    logLevel: settings.CC_LOG_LEVEL,
    colour: env.NO_COLOR === undefined,
    inherited: { PATH: '/usr/local/bin:/usr/bin:/bin', ...inherited },
  });
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
