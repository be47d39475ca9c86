import { whole } from './setting-values.ts';

/** What callers may use up; part of `SETTINGS`. */
export const LIMIT_SETTINGS = {
  CC_LIMIT_CONCURRENT_RUNS: {
    schema: whole(1, 1_000_000).optional(),
    example: '',
    help: 'Executions of one key that have not finished. Unset: no limit. A key may have limits of its own.',
  },
  CC_LIMIT_STARTS_PER_MINUTE: {
    schema: whole(1, 1_000_000).optional(),
    example: '',
    help: 'Executions that one key may start in any 60 seconds. Unset: no limit.',
  },
  CC_LIMIT_BYTES_PER_DAY: {
    schema: whole(1, 2 ** 50).optional(),
    example: '',
    help: 'Bytes of requests and uploads that are taken from one key in a UTC day. Unset: no limit.',
  },
  CC_LIMIT_TENANT_CONCURRENT_RUNS: {
    schema: whole(1, 1_000_000).optional(),
    example: '',
    help: 'As CC_LIMIT_CONCURRENT_RUNS, for all keys of a tenant together.',
  },
  CC_LIMIT_TENANT_STARTS_PER_MINUTE: {
    schema: whole(1, 1_000_000).optional(),
    example: '',
    help: 'As CC_LIMIT_STARTS_PER_MINUTE, for all keys of a tenant together.',
  },
  CC_LIMIT_TENANT_BYTES_PER_DAY: {
    schema: whole(1, 2 ** 50).optional(),
    example: '',
    help: 'As CC_LIMIT_BYTES_PER_DAY, for all keys of a tenant together.',
  },
  CC_LIMIT_WRONG_KEYS: {
    schema: whole(1, 1_000_000).default(100),
    example: '100',
    help: 'Wrong keys in a minute after which nothing is taken from their address (IPv6: its /64) for the rest of it.',
  },
} as const;
