import { availableParallelism, homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, { error: 'is not a whole number' })
    .transform(Number)
    .pipe(z.int().min(min).max(max));

const milliseconds = whole(1, 30 * 24 * 3600 * 1000);
const MiB = 1024 * 1024;

const upstreamUrl = z.url({ protocol: /^https?$/, error: 'is not an http or https URL' });

const lentWorkspaces = z.string().transform((value, context) => {
  const lent: Record<string, string> = {};
  for (const entry of value.split(',').filter((part) => part.trim() !== '')) {
    const [name, path] = entry.split('=', 2).map((part) => part.trim());
    if (!name || !path || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name) || !isAbsolute(path)) {
      context.addIssue({
        code: 'custom',
        message: `has the entry ${entry}; write name=/absolute/path, separated by commas`,
      });
      return z.NEVER;
    }
    lent[name] = path;
  }
  return lent;
});

interface Setting {
  schema: z.ZodType;
  /** As `.env.example` shows it. */
  example: string;
  help: string;
}

/**
 * Every setting the program reads from its environment, in the order of `.env.example`. A value that is wrong stops
 * the start; all wrong ones are named at once, never with a secret's value.
 */
export const SETTINGS = {
  ANTHROPIC_API_KEY: {
    schema: z.string().optional(),
    example: '',
    help: 'An API key of the model API. Wins over the other credentials.',
  },
  CLAUDE_CODE_OAUTH_TOKEN: {
    schema: z.string().optional(),
    example: '',
    help: 'A Claude Max token, from `claude setup-token`.',
  },
  CC_CLAUDE_CREDENTIALS: {
    schema: z.string().optional(),
    example: '',
    help: 'A mounted .credentials.json of a Claude Max login.',
  },
  CC_ALLOW_MAX: {
    schema: z.enum(['on', 'off']).default('on'),
    example: 'on',
    help: 'off refuses every Claude Max credential.',
  },
  ANTHROPIC_BASE_URL: {
    schema: upstreamUrl.default('https://api.anthropic.com'),
    example: 'https://api.anthropic.com',
    help: 'The model API that the gateway forwards to.',
  },
  HTTPS_PROXY: {
    schema: z.string().optional(),
    example: '',
    help: 'A proxy on the way to the model API; HTTP_PROXY and NO_PROXY count too.',
  },
  HTTP_PROXY: { schema: z.string().optional(), example: '', help: 'As HTTPS_PROXY, for an http upstream.' },
  NO_PROXY: { schema: z.string().optional(), example: '', help: 'Hosts that are reached without a proxy.' },
  CC_DATA_DIR: {
    schema: z.string().optional(),
    example: '',
    help: 'Where executions, logs and sessions are kept. Default: $XDG_DATA_HOME/cc-executor.',
  },
  CLAUDE_BIN: {
    schema: z.string().optional(),
    example: '',
    help: 'The claude program. Default: the pinned one of the npm package.',
  },
  CC_RUN_UID: {
    schema: whole(1, 4_294_967_294).default(65_534),
    example: '65534',
    help: 'As root: the uid of runs in fresh and named workspaces.',
  },
  CC_ISOLATION: {
    schema: z.enum(['auto', 'L1', 'L2', 'L3']).default('auto'),
    example: 'auto',
    help: 'The isolation level; this version builds L1.',
  },
  CC_DEFAULT_MODEL: {
    schema: z.string().min(1).default('sonnet'),
    example: 'sonnet',
    help: 'The model when a request names none.',
  },
  CC_WORKSPACES: {
    schema: lentWorkspaces.default({}),
    example: '',
    help: 'Directories lent to callers by name: name=/path,other=/path.',
  },
  CC_MAX_CONCURRENT: {
    schema: whole(1, 10_000).default(() => availableParallelism() * 4),
    example: '',
    help: 'Runs at once. Default: cores × 4.',
  },
  CC_QUEUE_LIMIT: { schema: whole(1, 1_000_000).default(1000), example: '1000', help: 'Executions that may wait.' },
  CC_TIME_LIMIT_MS: {
    schema: milliseconds.default(3_600_000),
    example: '3600000',
    help: 'How long a run may take when its request does not say, in ms.',
  },
  CC_STALL_AFTER_MS: {
    schema: milliseconds.default(120_000),
    example: '120000',
    help: 'Silence after which a run is reported as stalled, in ms.',
  },
  CC_MAX_LINE_BYTES: {
    schema: whole(4096, 512 * MiB).default(32 * MiB),
    example: '33554432',
    help: 'The longest line taken from claude, in bytes.',
  },
  CC_MAX_LOG_BYTES: {
    schema: whole(MiB, 1024 * 1024 * MiB).default(1024 * MiB),
    example: '1073741824',
    help: 'The largest event log of one execution, in bytes.',
  },
  CC_RETENTION_DAYS: {
    schema: whole(1, 36_500).default(7),
    example: '7',
    help: 'Days after which the log of a finished execution is cut.',
  },
  CC_RECORD_RETENTION_DAYS: {
    schema: whole(1, 36_500).default(90),
    example: '90',
    help: 'Days after which its record goes too.',
  },
  CC_RETENTION_BYTES: {
    schema: whole(MiB, 2 ** 50).default(10 * 1024 * MiB),
    example: '10737418240',
    help: 'Event logs kept in all, in bytes; the oldest finished are cut first.',
  },
  CC_LOG_LEVEL: {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('warn'),
    example: 'warn',
    help: 'The least level written to the log.',
  },
} as const satisfies Record<string, Setting>;

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
  readonly claudeBin: string | undefined;
  readonly runUid: number;
  readonly isolation: 'auto' | 'L1' | 'L2' | 'L3';
  readonly defaultModel: string;
  readonly lentWorkspaces: Readonly<Record<string, string>>;
  readonly maxConcurrent: number;
  readonly queueLimit: number;
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

const INHERITED = ['PATH', 'LANG', 'LC_ALL', 'LC_CTYPE', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'];

type Settings = { [K in keyof typeof SETTINGS]: z.output<(typeof SETTINGS)[K]['schema']> };

/**
 * Reads the environment, once, at start. An empty variable counts as unset.
 * @throws ConfigError
 */
export function loadConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const env = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  );
  const shape = Object.fromEntries(Object.entries(SETTINGS).map(([name, setting]) => [name, setting.schema]));
  const parsed = z.object(shape).safeParse(env);
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`));
  }
  // The shape is SETTINGS itself, which the compiler cannot follow through Object.entries.
  const settings = parsed.data as Settings;
  if (settings.CC_ISOLATION === 'L2' || settings.CC_ISOLATION === 'L3') {
    throw new ConfigError([
      `CC_ISOLATION is ${settings.CC_ISOLATION}, and this version builds L1 only; use auto or L1`,
    ]);
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
    claudeBin: settings.CLAUDE_BIN,
    runUid: settings.CC_RUN_UID,
    isolation: settings.CC_ISOLATION,
    defaultModel: settings.CC_DEFAULT_MODEL,
    lentWorkspaces: settings.CC_WORKSPACES,
    maxConcurrent: settings.CC_MAX_CONCURRENT,
    queueLimit: settings.CC_QUEUE_LIMIT,
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

function given<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return value === undefined ? {} : ({ [key]: value } satisfies Record<string, string> as { [P in K]?: string });
}

/** The text of `.env.example`: every setting, commented out, with what it means. */
export function envExample(): string {
  const entries = Object.entries(SETTINGS).map(([name, { example, help }]) => `# ${help}\n# ${name}=${example}\n`);
  return `# Settings of CC Executor, read from the environment. Generated from src/config.ts by npm run fix.\n\n${entries.join('\n')}`;
}
