import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { CALLER_SETTINGS } from './caller-settings.ts';
import { LIMIT_SETTINGS } from './limit-settings.ts';
import {
  absolutePaths,
  addresses,
  dollars,
  egress,
  lentWorkspaces,
  MiB,
  milliseconds,
  origins,
  proxies,
  upstreamUrl,
  whole,
} from './setting-values.ts';

interface Setting {
  schema: z.ZodType;
  /** As `.env.example` shows it. */
  example: string;
  help: string;
}

function secretFile(name: string) {
  return { schema: z.string().optional(), example: '', help: `A file with the value of ${name}, in its place.` };
}

/**
 * Every setting the program reads from its environment, in the order of `.env.example`. A value that is wrong stops
 * the start; all wrong ones are named at once, never with a secret's value.
 */
export const SETTINGS = {
  CC_HOST: {
    schema: z.string().min(1).default('127.0.0.1'),
    example: '127.0.0.1',
    help: 'The address the service listens on.',
  },
  CC_PORT: {
    schema: whole(0, 65_535).default(8000),
    example: '8000',
    help: 'The port the service listens on; 0 takes a free one.',
  },
  CC_API_KEY: {
    schema: z.string().min(32, { error: 'is shorter than 32 characters' }).max(4096).optional(),
    example: '',
    help: 'A key of your own choice, 32 characters or more. Unset: one is made at the first start.',
  },
  CC_API_KEY_FILE: secretFile('CC_API_KEY'),
  ...CALLER_SETTINGS,
  CC_URL: {
    schema: z.url({ protocol: /^https?$/, error: 'is not an http or https URL' }).optional(),
    example: '',
    help: 'For the command line: the service it talks to. Unset: the one on this data folder, if it runs.',
  },
  CC_ALLOWED_ORIGINS: {
    schema: origins.default([]),
    example: '',
    help: 'Web pages that may call: https://example.org,https://other.example. Those of the service itself always may.',
  },
  CC_TRUST_PROXY: {
    schema: proxies.default(false),
    example: 'off',
    help: 'Proxies in front that are believed about address, host and protocol: off, on, or their addresses: 10.0.0.0/8,::1.',
  },
  CC_MAX_CONNECTIONS: {
    schema: whole(1, 1_000_000).default(5000),
    example: '5000',
    help: 'Connections at once; further ones are dropped.',
  },
  ...LIMIT_SETTINGS,
  CC_DRAIN_MS: {
    schema: whole(0, 24 * 3600 * 1000).default(600_000),
    example: '600000',
    help: 'How long runs may go on when the service is told to end, in ms.',
  },
  CC_WORKSPACE_QUOTA_BYTES: {
    schema: whole(MiB, 2 ** 50).default(10 * 1024 * MiB),
    example: '10737418240',
    help: 'What a workspace may hold after an upload, in bytes.',
  },
  ANTHROPIC_API_KEY: {
    schema: z.string().optional(),
    example: '',
    help: 'An API key of the model API. Wins over the other credentials.',
  },
  ANTHROPIC_API_KEY_FILE: secretFile('ANTHROPIC_API_KEY'),
  CLAUDE_CODE_OAUTH_TOKEN: {
    schema: z.string().optional(),
    example: '',
    help: 'A Claude Max token, from `claude setup-token`.',
  },
  CLAUDE_CODE_OAUTH_TOKEN_FILE: secretFile('CLAUDE_CODE_OAUTH_TOKEN'),
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
  CC_CALLER_CREDENTIALS: {
    schema: z.enum(['on', 'off']).default('off'),
    example: 'off',
    help: 'on takes a Claude credential of the caller as their key: it then pays for their runs.',
  },
  CC_ENVELOPE_KEY: {
    schema: z.string().min(32, { error: 'is shorter than 32 characters' }).max(4096).optional(),
    example: '',
    help: 'Encrypts credentials of callers that wait; the same on every node. Needed with REDIS_URL; else one is made.',
  },
  CC_ENVELOPE_KEY_FILE: secretFile('CC_ENVELOPE_KEY'),
  CC_SPEND_PER_DAY_USD: {
    schema: dollars.optional(),
    example: '',
    help: 'What each tenant may spend in a UTC day, in US dollars. Unset: any amount.',
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
  REDIS_URL: {
    schema: z.url({ protocol: /^(rediss?|unix)$/, error: 'is not a redis, rediss or unix URL' }).optional(),
    example: '',
    help: 'Redis or Valkey, for more than one process: redis://user:password@host:6379/0. Unset: SQLite in the data folder.',
  },
  REDIS_URL_FILE: secretFile('REDIS_URL'),
  CC_ROLE: {
    schema: z.enum(['all', 'api', 'worker']).default('all'),
    example: 'all',
    help: 'With REDIS_URL: api accepts executions, worker runs them, all does both.',
  },
  CC_REDIS_PERSISTENCE: {
    schema: z.enum(['required', 'optional']).default('required'),
    example: 'required',
    help: 'optional starts on a Redis that keeps nothing on disk, and may lose what was accepted.',
  },
  CC_SPOOL_BYTES: {
    schema: whole(MiB, 2 ** 50).default(1024 * MiB),
    example: '1073741824',
    help: 'With REDIS_URL: what runs may write to disk while Redis is away, in bytes.',
  },
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
    help: 'The isolation level of runs: auto takes the best that this machine is proven to give, a level is that or no start.',
  },
  CC_BOX_SOCKETS: {
    schema: z.enum(['strict', 'all']).default('strict'),
    example: 'strict',
    help: 'At L2: all lets runs have servers and sockets of their own, and with them reach those of others.',
  },
  CC_BOX_READABLE: {
    schema: absolutePaths.default([]),
    example: '',
    help: 'From L2 on: folders with tools that runs may read, beside the system and those in PATH: /opt/sdk,/srv/models.',
  },
  CC_EGRESS: {
    schema: egress.optional(),
    example: '',
    help: 'Hosts that runs may reach besides the model, when their request does not say: example.org,*.example.org,example.org:8443; none; open. Unset: none, and open for a run of the command line without a service.',
  },
  CC_EGRESS_PRIVATE: {
    schema: addresses.default([]),
    example: '',
    help: 'Addresses that runs may reach although they are in no public network, if their list names the host: 10.1.2.0/24,192.168.1.5.',
  },
  CC_DEFAULT_MODEL: {
    schema: z.string().min(1).default('sonnet'),
    example: 'sonnet',
    help: 'The model when a request names none.',
  },
  CC_WORKSPACES: {
    schema: lentWorkspaces.default({}),
    example: '',
    help: 'Directories lent to callers by name: name=/path, and name@tenant=/path for another tenant than local.',
  },
  CC_MAX_CONCURRENT: {
    schema: whole(1, 10_000).default(() => availableParallelism() * 4),
    example: '',
    help: 'Runs at once. Default: cores × 4.',
  },
  CC_QUEUE_LIMIT: { schema: whole(1, 1_000_000).default(1000), example: '1000', help: 'Executions that may wait.' },
  CC_WARM_POOL: {
    schema: whole(0, 100).default(1),
    example: '1',
    help: 'claude processes that serve starts ahead, some 90 MB each; 0 for none.',
  },
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
  CC_AUDIT_RETENTION_DAYS: {
    schema: whole(1, 36_500).default(365),
    example: '365',
    help: 'Days after which entries of the audit log are removed, the oldest first.',
  },
  CC_LOG_LEVEL: {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('warn'),
    example: 'warn',
    help: 'The least level written to the log.',
  },
} as const satisfies Record<string, Setting>;
