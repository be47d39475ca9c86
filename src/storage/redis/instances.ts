import { randomUUID } from 'node:crypto';
import { ServiceError } from '../../protocol/errors.ts';
import type { RedisCommands } from './connection.ts';
import { HEARTBEAT_TTL_MS, instanceKey, KEYS } from './keys.ts';
import { defineScript, textsOf } from './script.ts';

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const BEAT_INTERVAL_MS = 3_000;
/** After so long nobody's doubt about an instance is worth remembering it. */
const FORGET_AFTER_MS = 3_600_000;

const BEAT = defineScript(
  'finish',
  `
need('string', KEYS[1])
need('zset', KEYS[2])
local id, token, ttl, forgetAfter = unpack(ARGV)
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= token then return { 'taken' } end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('SET', KEYS[1], token, 'PX', ttl)
redis.call('ZADD', KEYS[2], now, id)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(forgetAfter))
return { 'beating' }
`,
);

const END = defineScript(
  'finish',
  `
if redis.call('GET', KEYS[1]) == ARGV[2] then redis.call('DEL', KEYS[1]) end
redis.call('ZREM', KEYS[2], ARGV[1])
return {}
`,
);

const ALIVE = defineScript('read', `return { alive(ARGV[1], ARGV[2]) and 'alive' or 'dead' }`);

/**
 * The service instances of this process, whose heartbeats it renews, and the question whether another one lives.
 * Redis's clock runs on while it is frozen or away, and all heartbeats are over when it comes back: so an instance
 * that was not closed is dead only when the connection has stood for as long as a heartbeat lasts.
 */
export class Instances {
  readonly #commands: RedisCommands & { readonly availableForMs: number };
  readonly #token = randomUUID();
  readonly #ids = new Set<string>();
  readonly #timer: NodeJS.Timeout;

  constructor(commands: RedisCommands & { readonly availableForMs: number }) {
    this.#commands = commands;
    this.#timer = setInterval(() => void ifPossible(() => this.beat(commands)), BEAT_INTERVAL_MS).unref();
  }

  /** Whether those that are not heard of get the benefit of the doubt. */
  get grace(): boolean {
    return this.#commands.availableForMs < HEARTBEAT_TTL_MS;
  }

  async register(id: string): Promise<void> {
    if (!ID.test(id)) throw new Error(`${JSON.stringify(id)} is not an instance id`);
    if ((await this.#beatOne(this.#commands, id)) === 'taken') {
      throw new Error(`instance ${id} is registered by another process`);
    }
    this.#ids.add(id);
  }

  async alive(id: string): Promise<boolean> {
    if (this.#ids.has(id)) return true;
    const keys = [instanceKey(id), KEYS.instances];
    const [answer] = textsOf(await this.#commands.evaluate(ALIVE, keys, [id, this.grace ? 1 : 0]));
    return answer === 'alive';
  }

  /** Renews every heartbeat. */
  async beat(commands: RedisCommands): Promise<void> {
    await Promise.all([...this.#ids].map((id) => this.#beatOne(commands, id)));
  }

  /** Ends the heartbeats; while the server is away they end by themselves. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const ids = [...this.#ids];
    this.#ids.clear();
    await ifPossible(async () => {
      for (const id of ids) {
        await this.#commands.evaluate(END, [instanceKey(id), KEYS.instances], [id, this.#token]);
      }
    });
  }

  async #beatOne(commands: RedisCommands, id: string): Promise<string | undefined> {
    const keys = [instanceKey(id), KEYS.instances];
    const args = [id, this.#token, HEARTBEAT_TTL_MS, FORGET_AFTER_MS];
    return textsOf(await commands.evaluate(BEAT, keys, args))[0];
  }
}

/** The connection tells the log of an outage, and has every heart beat when it is back. */
async function ifPossible(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof ServiceError && error.code === 'storage_unavailable')) throw error;
  }
}
