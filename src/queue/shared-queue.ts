import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { RedisConnection } from '../storage/redis/connection.ts';
import { defineScript, textsOf } from '../storage/redis/script.ts';
import { parseRedisUrl, type RedisTarget } from '../storage/redis/target.ts';
import { translateError, unavailable } from '../storage/redis/translate-error.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { fairPriority } from './fair-priority.ts';
import { QUEUE, type QueueEntry, queueKey } from './queue-entry.ts';
import { enterLines, leaveLines } from './waiting-lines.ts';

const TIME_LIMIT_MS = 2_000;
const MAX_WAITING = 1_000;
const MAX_BACK_OFF_MS = 2_000;

const DEPTH = defineScript(
  'read',
  `return { tostring(redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]) + redis.call('ZCARD', KEYS[3])) }`,
);

/** BullMQ takes from the right end of `wait`, then from `prioritized`; what is delayed comes behind them. */
const POSITION = defineScript(
  'read',
  `
local wait, ready = redis.call('LLEN', KEYS[1]), redis.call('ZCARD', KEYS[2])
local at = redis.call('ZRANK', KEYS[2], ARGV[1])
if at then return { tostring(wait + at + 1) } end
at = redis.call('ZRANK', KEYS[3], ARGV[1])
if at then return { tostring(wait + ready + at + 1) } end
at = redis.call('LPOS', KEYS[1], ARGV[1])
if at then return { tostring(wait - at) } end
return {}
`,
);

const MISSING = defineScript(
  'read',
  `
local missing = {}
for at, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 0 then missing[#missing + 1] = ARGV[at] end
end
return missing
`,
);

const WAITING_KEYS = [queueKey('wait'), queueKey('prioritized'), queueKey('delayed')];

/**
 * The queue as both sides see it. While Redis is away every call fails within 2 s as `storage_unavailable`, and none is
 * kept for later.
 */
export class SharedQueue {
  /** For commands of the queue's own beside BullMQ; it also tells the log of an outage. */
  readonly commands: RedisConnection;
  readonly #target: RedisTarget;
  readonly #client: Redis;
  readonly #queue: Queue<QueueEntry>;
  #waiting = 0;

  private constructor(target: RedisTarget, commands: RedisConnection) {
    this.#target = target;
    this.commands = commands;
    this.#client = new Redis({
      ...target.options,
      connectTimeout: TIME_LIMIT_MS,
      enableReadyCheck: false,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (times) => Math.min(25 * 2 ** Math.min(times, 10), MAX_BACK_OFF_MS),
    });
    this.#queue = new Queue<QueueEntry>(QUEUE.name, {
      connection: this.#client,
      prefix: QUEUE.prefix,
      skipVersionCheck: true,
      skipMetasUpdate: true,
      defaultJobOptions: { attempts: 1, removeOnComplete: true, removeOnFail: true },
    });
    this.#queue.on('error', () => {});
  }

  /**
   * @param logger told once of each outage, where it is given
   * @throws ServiceError `storage_unavailable`
   */
  static async open(url: string, logger?: Logger): Promise<SharedQueue> {
    const target = parseRedisUrl(url);
    const log = logger?.child({ part: 'queue' });
    const commands = await RedisConnection.open(target, { log, prepare: async () => {} });
    const shared = new SharedQueue(target, commands);
    try {
      await shared.#ask(() => shared.#queue.waitUntilReady());
      return shared;
    } catch (error) {
      await shared.close();
      throw error;
    }
  }

  /** Puts it where any worker may take it; one that is there already stays as it is. */
  async add(record: ExecutionRecord): Promise<void> {
    const entry = { executionId: record.execution.id, tenant: record.tenant };
    await enterLines(this.commands, record);
    const priority = await fairPriority(this.commands, record);
    if (priority === undefined) return;
    await this.#ask(() => this.#queue.add('execution', entry, { jobId: entry.executionId, priority }));
  }

  /** Takes one out that no worker has; false when there is none. */
  async withdraw(executionId: string): Promise<boolean> {
    const job = await this.#ask(() => this.#queue.getJob(executionId));
    // One that was taken stays so when its lock has run out: its worker may be cut off and run it all the same.
    if (job === undefined || (await this.#ask(() => job.isActive()))) return false;
    if ((await this.#ask(() => this.#queue.remove(executionId))) !== 1) return false;
    await this.leave(job.data);
    return true;
  }

  /** Takes it out of its lines, and calls those who waited for it. */
  async leave(entry: QueueEntry): Promise<void> {
    for (const id of await leaveLines(this.commands, entry)) await this.#call(id);
  }

  /** How many wait. */
  async depth(): Promise<number> {
    const [depth] = textsOf(await this.commands.evaluate(DEPTH, WAITING_KEYS, []));
    return Number(depth);
  }

  /** 1 for the next; null when it does not wait. */
  async position(executionId: string): Promise<number | null> {
    const [position] = textsOf(await this.commands.evaluate(POSITION, WAITING_KEYS, [executionId]));
    return position === undefined ? null : Number(position);
  }

  /** Those of the ids that are not in the queue, neither waiting nor taken. */
  async missing(executionIds: readonly string[]): Promise<string[]> {
    return textsOf(await this.commands.evaluate(MISSING, executionIds.map(queueKey), executionIds));
  }

  async close(): Promise<void> {
    await this.#queue.close();
    this.#client.disconnect();
    await this.commands.close();
  }

  /** Has one that was put back looked at now. */
  async #call(executionId: string): Promise<void> {
    const job = await this.#ask(() => this.#queue.getJob(executionId));
    if (job === undefined || !(await this.#ask(() => job.isDelayed()))) return;
    await this.#ask(() => job.promote()).catch(async (error: unknown) => {
      // Its delay may have ended between the two.
      if (await this.#ask(() => job.isDelayed())) throw error;
    });
  }

  async #ask<T>(act: () => Promise<T>): Promise<T> {
    const { shown } = this.#target;
    if (this.#waiting >= MAX_WAITING) throw unavailable(shown, `${this.#waiting} commands wait for it already`);
    this.#waiting += 1;
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      late.reject(unavailable(shown, `no answer within ${TIME_LIMIT_MS} ms`));
      this.#client.disconnect(true);
    }, TIME_LIMIT_MS);
    try {
      return await Promise.race([act(), late.promise]);
    } catch (error) {
      throw translateError(error, shown);
    } finally {
      clearTimeout(timer);
      this.#waiting -= 1;
    }
  }
}
