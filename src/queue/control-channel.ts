import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { ControlRequest, RemoteControl } from '../executions/remote-control.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';
import { newId } from '../protocol/ids.ts';
import { parsedJson } from '../protocol/json.ts';
import { RedisConnection } from '../storage/redis/connection.ts';
import { parseRedisUrl } from '../storage/redis/target.ts';
import { unavailable } from '../storage/redis/translate-error.ts';
import { Answer, Question, toRefusal } from './control-messages.ts';
import { repeatedTrouble } from './repeated-trouble.ts';

const ANSWER_LIMIT_MS = 5_000;
const SNAPSHOT_LIMIT_MS = 2_000;
const OPEN_LIMIT_MS = 5_000;
const MAX_BACK_OFF_MS = 2_000;
/** Of this instance's questions, and of those it is answering. */
const MAX_OPEN = 1_000;

export interface ControlChannelOptions {
  /** The address of the Redis server that is the store, too. */
  url: string;
  instanceId: string;
  /** Does what another instance asks of an execution that runs here. */
  handle(request: ControlRequest): Promise<Execution>;
  logger: Logger;
}

/**
 * Lets instances ask each other about executions, over Redis's pub/sub: questions to `cce:control:INSTANCE`, answers to
 * `cce:answers:INSTANCE`. Redis keeps neither: an instance that listens answers within 5 s (2 s for `snapshot`), or the
 * question fails with `not_running`, and at once where nobody listens. It may still have been acted on.
 * @throws ServiceError `storage_unavailable` when Redis does not answer
 */
export async function openControlChannel(
  options: ControlChannelOptions,
): Promise<RemoteControl & { close(): Promise<void> }> {
  const target = parseRedisUrl(options.url);
  const publisher = await RedisConnection.open(target, { log: undefined, prepare: async () => {} });
  const subscriber = new Redis({
    ...target.options,
    autoResubscribe: false,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (times) => Math.min(25 * 2 ** Math.min(times, 10), MAX_BACK_OFF_MS),
  });
  const channel = new ControlChannel(options, publisher, subscriber);
  try {
    await channel.listening(target.shown);
    return channel;
  } catch (error) {
    await channel.close();
    throw error;
  }
}

type Waiting = Pick<PromiseWithResolvers<Execution>, 'resolve' | 'reject'>;

class ControlChannel implements RemoteControl {
  readonly #options: ControlChannelOptions;
  readonly #publisher: RedisConnection;
  readonly #subscriber: Redis;
  readonly #listening = Promise.withResolvers<void>();
  readonly #questions = new Map<string, Waiting>();
  readonly #report: (error: unknown) => void;
  #answering = 0;

  constructor(options: ControlChannelOptions, publisher: RedisConnection, subscriber: Redis) {
    const { instanceId, logger } = options;
    this.#options = options;
    this.#publisher = publisher;
    this.#subscriber = subscriber;
    this.#report = repeatedTrouble((err, leftOut) => {
      logger.warn({ err, leftOut }, 'a control message was not understood or answered');
    });
    const control = controlChannelOf(instanceId);
    subscriber.on('error', () => {});
    // On every new connection; one that is lost meanwhile is followed by another.
    subscriber.on('ready', () => {
      subscriber.subscribe(control, answerChannelOf(instanceId)).then(
        () => this.#listening.resolve(),
        () => {},
      );
    });
    subscriber.on('message', (name: string, text: string) => {
      if (name === control) this.#answer(text).catch(this.#report);
      else this.#settle(text);
    });
  }

  async listening(shown: string): Promise<void> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(unavailable(shown, 'it takes no subscription')), OPEN_LIMIT_MS);
    try {
      await Promise.race([this.#listening.promise, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  async ask(instanceId: string, request: ControlRequest): Promise<Execution> {
    if (this.#questions.size >= MAX_OPEN) {
      const message = `${MAX_OPEN} questions to other services are open already; try again later`;
      throw new ServiceError('too_many', message, { data: { retryAfterMs: 1_000 } });
    }
    const id = newId();
    const { promise, ...waiting } = Promise.withResolvers<Execution>();
    promise.catch(() => {});
    this.#questions.set(id, waiting);
    const limitMs = request.action === 'snapshot' ? SNAPSHOT_LIMIT_MS : ANSWER_LIMIT_MS;
    const timer = setTimeout(() => waiting.reject(silent(request, `does not answer within ${limitMs} ms`)), limitMs);
    try {
      const question: Question = { id, from: this.#options.instanceId, request };
      const heard = await this.#publisher.call('PUBLISH', [controlChannelOf(instanceId), JSON.stringify(question)]);
      if (Number(heard) === 0) throw silent(request, 'is gone or cut off');
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#questions.delete(id);
    }
  }

  async close(): Promise<void> {
    this.#subscriber.disconnect();
    for (const { reject } of this.#questions.values()) {
      reject(new ServiceError('shutting_down', 'The service is shutting down; ask another one'));
    }
    await this.#publisher.close();
  }

  async #answer(text: string): Promise<void> {
    const question = parsed(Question, text);
    if (question === undefined) throw new Error('a question is not of the form expected');
    const { id, from, request } = question;
    const answer = await this.#act(id, request);
    await this.#publisher.call('PUBLISH', [answerChannelOf(from), JSON.stringify(answer)]);
  }

  async #act(id: string, request: ControlRequest): Promise<Answer> {
    if (this.#answering >= MAX_OPEN) {
      return { id, refusal: { code: 'too_many', message: 'The service is asked too much at once', data: {} } };
    }
    this.#answering += 1;
    try {
      return { id, execution: await this.#options.handle(request) };
    } catch (error) {
      if (!(error instanceof ServiceError)) this.#report(error);
      return { id, refusal: toRefusal(error) };
    } finally {
      this.#answering -= 1;
    }
  }

  /** An answer that comes too late finds nobody. */
  #settle(text: string): void {
    const answer = parsed(Answer, text);
    if (answer === undefined) {
      this.#report(new Error('an answer is not of the form expected'));
      return;
    }
    const waiting = this.#questions.get(answer.id);
    if ('execution' in answer) {
      waiting?.resolve(answer.execution);
      return;
    }
    const { code, message, data } = answer.refusal;
    waiting?.reject(new ServiceError(code, message, { data }));
  }
}

/** Without the words of the error: they may repeat what was said, which no log is to hold. */
function parsed<T>(schema: z.ZodType<T>, text: string): T | undefined {
  return schema.safeParse(parsedJson(text)).data;
}

function silent({ executionId, action }: ControlRequest, how: string): ServiceError {
  const advice =
    action === 'snapshot' ? 'try again' : `look at the execution to see whether the ${action} was done, then try again`;
  const message = `The service that runs execution ${executionId} ${how}: ${advice}. If it is dead, the execution ends as lost within 30 s`;
  return new ServiceError('not_running', message, { data: { retryAfterMs: 1_000 } });
}

function controlChannelOf(instanceId: string): string {
  return `cce:control:${instanceId}`;
}

function answerChannelOf(instanceId: string): string {
  return `cce:answers:${instanceId}`;
}
