import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Service } from '../src/service.ts';
import { alternate, type Benchmark, median, ms, times, withService } from './measure.ts';
import { type RedisSite, withNodes, withRedis } from './redis.ts';

const SLEEP_MS = 300;
/** So few that the workers, and not the cores, are what a run waits for. */
const AT_ONCE = 2;
const MANY = 10_000;
const SUBMITTED_AT_ONCE = 50;
const POLL_MS = 20;
const LIMIT_MS = 3_600_000;

/** Sleeps `SLEEP_MS` and succeeds. With `STARTS`, it first adds a line with its session to that file. */
const PROGRAM = `#!/usr/bin/perl
use strict;
use warnings;
if (grep { $_ eq '--version' } @ARGV) { print "2.1.330 (Claude Code)\\n"; exit 0 }
sub say_line { syswrite STDOUT, "$_[0]\\n" }
if ($ENV{STARTS}) {
    open my $starts, '>>', $ENV{STARTS} or die $!;
    my ($session) = map { /^--session-id=(.*)/ ? $1 : () } @ARGV;
    syswrite $starts, "$session\\n";
}
while (my $line = <STDIN>) {
    if ($line =~ /"type":"control_request"/) {
        my ($request) = $line =~ /"request_id":"([^"]+)"/;
        say_line(qq({"type":"control_response","response":{"subtype":"success","request_id":"$request","response":{}}}));
        next;
    }
    next if $line !~ /"type":"user"/;
    my ($uuid) = $line =~ /"uuid":"([^"]+)"/;
    select undef, undef, undef, ($ENV{SLEEP_MS} // 0) / 1000;
    say_line(qq({"type":"result","subtype":"success","is_error":false,"result":"done","num_turns":1,"duration_ms":2,)
        . qq("duration_api_ms":1,"session_id":"00000000-0000-4000-8000-000000000001","total_cost_usd":0,)
        . qq("queued_turn_count":0,"user_message_uuids":["$uuid"]}));
}
`;

export const queue: Benchmark = {
  name: 'queue',
  about: `submit → started through Redis and BullMQ, against SQLite and in process; runs per second of 2 workers against 1, on fake runs that sleep ${SLEEP_MS} ms, aim ≥ 1.8×`,
  run: (quick) =>
    withRedis(async (site) => {
      const program = await fakeProgram(site);
      const rounds = quick ? 5 : 40;
      return [
        ...(await latency(site, program, { rounds, fsync: 'everysec' })),
        ...(await latency(site, program, { rounds, fsync: 'always' })),
        ...(await scaling(site, program, quick)),
      ];
    }),
};

export const queueLong: Benchmark = {
  name: 'queue-long',
  about: `${MANY} queued tiny fake runs over 4 workers, each of which leaves a mark when it starts: aim 0 double starts`,
  run: (quick) =>
    withRedis(async (site) => {
      const count = quick ? MANY / 50 : MANY;
      const starts = join(site.folder, 'starts');
      await writeFile(starts, '');
      // Runs of a service that is root are another user's.
      await chmod(starts, 0o666);
      const env = { CLAUDE_BIN: await fakeProgram(site), CC_MAX_CONCURRENT: '4' };
      return withNodes(site, { workers: 4, env }, async (api) => {
        const seconds = await runAll(api, site, { count, env: { STARTS: starts } });
        const sessions = (await readFile(starts, 'utf8')).trim().split('\n');
        const doubled = sessions.length - new Set(sessions).size;
        const { succeeded, owners, restarted } = await countRecords(api, count);
        return [
          `${doubled} double starts: ${sessions.length} starts of ${new Set(sessions).size} sessions; ${restarted} logs hold other than one start and one end`,
          `${succeeded} of ${count} succeeded, on ${owners} workers, in ${seconds.toFixed(1)} s: ${(count / seconds).toFixed(1)} runs/s`,
        ];
      });
    }),
};

/** `always` is what SQLite does: every answer waits for the disk. */
async function latency(
  site: RedisSite,
  program: string,
  { rounds, fsync }: { rounds: number; fsync: 'everysec' | 'always' },
): Promise<string[]> {
  await site.command('CONFIG', 'SET', 'appendfsync', fsync);
  const env = { CLAUDE_BIN: program, CC_WARM_POOL: '0' };
  const { a: queued, b: own } = await withService(env, (inProcess) =>
    withNodes(site, { workers: 0, env }, (shared) =>
      alternate(
        rounds,
        () => started(shared),
        () => started(inProcess),
      ),
    ),
  );
  return (['accepted', 'started'] as const).map((what) => {
    const [ours, direct] = [median(queued.map((one) => one[what])), median(own.map((one) => one[what]))];
    return `${times(ours / direct)}  submit → ${what}: queue (appendfsync ${fsync}) ${ms(ours)}, in process ${ms(direct)}, ${ms(ours - direct)} added, n=${queued.length} each`;
  });
}

/** When it was accepted, and when its subscriber had `execution.started`; ms from the submit. */
async function started(service: Service): Promise<{ accepted: number; started: number }> {
  const client = service.client(undefined);
  const start = performance.now();
  const { id } = await client.execute({ prompt: 'hello' });
  const accepted = performance.now() - start;
  let seen = 0;
  for await (const batch of client.events(id, { after: 0 })) {
    if (seen === 0 && batch.some(({ type }) => type === 'execution.started')) seen = performance.now() - start;
  }
  const { outcome } = await client.get(id);
  if (outcome?.kind !== 'succeeded') throw new Error(`a run ended as ${outcome?.kind}: ${outcome?.message}`);
  return { accepted, started: seen };
}

async function scaling(site: RedisSite, program: string, quick: boolean): Promise<string[]> {
  await site.command('CONFIG', 'SET', 'appendfsync', 'everysec');
  const count = quick ? 16 : 60;
  const env = { CLAUDE_BIN: program, CC_MAX_CONCURRENT: String(AT_ONCE) };
  const rate = (workers: number) => (): Promise<number> =>
    withNodes(site, { workers, env }, async (api) => {
      const seconds = await runAll(api, site, { count, env: { SLEEP_MS: String(SLEEP_MS) } });
      return count / seconds;
    });
  const { a: two, b: one } = await alternate(quick ? 1 : 5, rate(2), rate(1));
  const shown = (rates: readonly number[]): string => `${median(rates).toFixed(2)} runs/s`;
  const ideal = AT_ONCE / (SLEEP_MS / 1000);
  return [
    `${times(median(two) / median(one))}  2 workers ${shown(two)}, 1 worker ${shown(one)} (${ideal.toFixed(2)} if a run cost nothing but its sleep), ${AT_ONCE} at once in each, n=${two.length} of ${count} runs each`,
  ];
}

/** Submits them all, and waits for the end of the last; seconds. */
async function runAll(
  api: Service,
  { command }: RedisSite,
  { count, env }: { count: number; env: Record<string, string> },
): Promise<number> {
  const client = api.client(undefined);
  const start = performance.now();
  let submitted = 0;
  const submit = async (): Promise<void> => {
    while (submitted < count) {
      submitted += 1;
      await client.execute({ prompt: 'hello', env });
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, SUBMITTED_AT_ONCE) }, submit));
  while (Number(await command('ZCARD', 'cce:finished')) < count) {
    if (performance.now() - start > LIMIT_MS)
      throw new Error(`${await command('ZCARD', 'cce:finished')} of ${count} ended`);
    await delay(POLL_MS);
  }
  return (performance.now() - start) / 1000;
}

async function countRecords(
  { storage }: Service,
  count: number,
): Promise<{ succeeded: number; owners: number; restarted: number }> {
  const owners = new Set<string>();
  let [succeeded, restarted, seen] = [0, 0, 0];
  let cursor: string | null | undefined;
  while (cursor !== null) {
    const page = await storage.listExecutions({ tenant: 'local', limit: 100, cursor });
    for (const { id, outcome } of page.executions) {
      seen += 1;
      if (outcome?.kind === 'succeeded') succeeded += 1;
      owners.add((await storage.getExecution('local', id))?.instanceId ?? '');
      const { events } = await storage.readEvents(id, { after: 0, limit: 1_000, maxBytes: 1024 * 1024 });
      const times = (type: string): number => events.filter((event) => event.type === type).length;
      if (times('execution.started') !== 1 || times('execution.finished') !== 1) restarted += 1;
    }
    cursor = page.nextCursor;
  }
  if (seen !== count) throw new Error(`${seen} of ${count} executions are there`);
  return { succeeded, owners: owners.size, restarted };
}

async function fakeProgram({ folder }: RedisSite): Promise<string> {
  const path = join(folder, 'claude.pl');
  await writeFile(path, PROGRAM, { mode: 0o755 });
  return path;
}
