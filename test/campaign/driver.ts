import { setTimeout as delay } from 'node:timers/promises';
import { connectServer, type ServerClient } from '../../src/client/server-client.ts';
import { ERRORS, ServiceError } from '../../src/protocol/errors.ts';
import type { Execution } from '../../src/protocol/execution.ts';
import type { ExecutionRequestInput } from '../../src/protocol/execution-request.ts';
import type { Cluster } from './cluster.ts';
import { type SeededRandom, seededRandom } from './seeded-random.ts';
import type { Submission } from './workload.ts';

/** What became of a submission, as its caller saw it. */
export interface Submitted {
  submission: Submission;
  /** Every id that was answered. */
  ids: Set<string>;
  /** Requests sent, with the ones whose answer was lost or a refusal. */
  attempts: number;
  /** What is not to be: a refusal that says that the same may not succeed later. */
  refusals: string[];
  /** The session it was told to continue. */
  sessionId: string | undefined;
}

export interface Followed {
  id: string;
  over: 'sse' | 'websocket';
  /** The events' bytes as they came. */
  events: string[];
  reconnects: number;
  /** Why following ended before the log did. */
  failure: string | undefined;
}

const GIVE_UP_AFTER_MS = 600_000;
const REQUEST_MS = 8_000;
/** Submissions that wait to be accepted; more would only be a heap to work off when a fault is over. */
const MAX_UNANSWERED = 50;
const POLL_MS = 50;

/** The callers of a campaign: they submit, follow, cancel, pause and resume, each at a node that chance picks. */
export class Driver {
  readonly submitted: Submitted[] = [];
  readonly followed: Followed[] = [];
  /** How many submissions are accepted, or given up. */
  answered = 0;
  readonly #cluster: Cluster;
  readonly #random: SeededRandom;
  readonly #clients: Record<'sse' | 'websocket', readonly ServerClient[]>;
  readonly #sessions: string[] = [];
  readonly #underWay = new Set<Promise<void>>();
  readonly #followers = new Set<Promise<void>>();
  readonly #leaving = new AbortController();

  constructor(cluster: Cluster, seed: number) {
    this.#cluster = cluster;
    this.#random = seededRandom(seed, 'driver');
    const patience = { requestMs: REQUEST_MS, giveUpAfterMs: GIVE_UP_AFTER_MS };
    const clients = (transport: 'sse' | 'websocket'): ServerClient[] =>
      cluster.apis.map(({ url }) => connectServer({ url, key: cluster.key, transport, patience }));
    this.#clients = { sse: clients('sse'), websocket: clients('websocket') };
  }

  /** One node or another. */
  client(transport: 'sse' | 'websocket' = 'sse'): ServerClient {
    return this.#random.pick(this.#clients[transport]);
  }

  /** Submits at a steady pace. Resolves when everything is accepted and each caller has done what was planned. */
  async run(plan: readonly Submission[], { everyMs }: { everyMs: number }): Promise<void> {
    const begun = performance.now();
    for (const submission of plan) {
      await delay(Math.max(0, begun + submission.index * everyMs - performance.now()));
      while (this.submitted.length - this.answered >= MAX_UNANSWERED) await delay(POLL_MS);
      this.#track(this.#underWay, this.#one(submission));
    }
    while (this.#underWay.size > 0) await Promise.race(this.#underWay);
  }

  /** Resolves when every follower has the end of its log, or `ms` have passed. */
  async followersEnd(ms: number): Promise<void> {
    const timer = new AbortController();
    const late = delay(ms, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#followers), late]);
    timer.abort();
    this.#leaving.abort();
    await Promise.all(this.#followers);
  }

  async close(): Promise<void> {
    this.#leaving.abort();
    await Promise.all(
      [...this.#clients.sse, ...this.#clients.websocket].map((client) => client.close({ force: true })),
    );
  }

  #track(set: Set<Promise<void>>, work: Promise<void>): void {
    const tracked = work.finally(() => set.delete(tracked));
    set.add(tracked);
  }

  async #one(submission: Submission): Promise<void> {
    const request = this.#request(submission);
    const { sessionId } = request;
    const submitted: Submitted = { submission, ids: new Set(), attempts: 0, refusals: [], sessionId };
    this.submitted.push(submitted);
    const twice = submission.twice && submission.idempotencyKey !== undefined;
    const answers = await Promise.all(Array.from({ length: twice ? 2 : 1 }, () => this.#accepted(submitted, request)));
    this.answered += 1;
    const execution = answers.find((answer) => answer !== undefined);
    if (execution === undefined) return;
    if (execution.sessionId !== null) this.#sessions.push(execution.sessionId);
    if (submission.follow !== undefined) this.#track(this.#followers, this.#follow(execution.id, submission.follow));
    await this.#act(execution.id, submitted);
  }

  #request(submission: Submission): ExecutionRequestInput {
    const { index, kind, talksForMs, priority, idempotencyKey, retryMax, place } = submission;
    const session =
      place.kind === 'session' ? this.#sessions[Math.floor(place.pick * this.#sessions.length)] : undefined;
    return {
      prompt: `Submission ${index}`,
      priority,
      metadata: { submission: String(index) },
      env: { CAMPAIGN_JOURNAL: this.#cluster.journal, CAMPAIGN_KIND: kind, CAMPAIGN_MS: String(talksForMs) },
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      ...(retryMax === 0 ? {} : { retry: { max: retryMax } }),
      ...(place.kind === 'workspace' ? { workspace: place.name } : {}),
      ...(session === undefined ? {} : { sessionId: session }),
    };
  }

  async #accepted(submitted: Submitted, request: ExecutionRequestInput): Promise<Execution | undefined> {
    const deadline = performance.now() + GIVE_UP_AFTER_MS;
    while (performance.now() < deadline) {
      submitted.attempts += 1;
      try {
        const execution = await this.client().execute(request);
        submitted.ids.add(execution.id);
        return execution;
      } catch (error) {
        if (!isRetryable(error)) {
          submitted.refusals.push(error instanceof Error ? error.message : String(error));
          return undefined;
        }
      }
      await delay(200 + this.#random.next() * 800);
    }
    submitted.refusals.push('not accepted in time');
    return undefined;
  }

  async #follow(id: string, over: 'sse' | 'websocket'): Promise<void> {
    const followed: Followed = { id, over, events: [], reconnects: 0, failure: undefined };
    this.followed.push(followed);
    const onReconnect = (): void => {
      followed.reconnects += 1;
    };
    try {
      const events = this.client(over).events(id, { after: 0, onReconnect, signal: this.#leaving.signal });
      for await (const batch of events) followed.events.push(...batch.map(({ bytes }) => bytes));
    } catch (error) {
      followed.failure = error instanceof Error ? error.message : String(error);
    }
  }

  async #act(id: string, submitted: Submitted): Promise<void> {
    const then = submitted.submission.caller;
    if (then.act === 'nothing') return;
    await delay(then.afterMs);
    if (then.act === 'cancel') {
      await this.#insist(submitted, () => this.client().cancel(id));
      return;
    }
    const paused = await this.#insist(submitted, () => this.client().pause(id));
    if (!paused) return;
    await delay(then.forMs);
    await this.#insist(submitted, () => this.client().resume(id));
  }

  /** Asks until it is done; false when it does not apply (any more). */
  async #insist({ refusals }: Submitted, ask: () => Promise<Execution>): Promise<boolean> {
    const deadline = performance.now() + GIVE_UP_AFTER_MS;
    while (performance.now() < deadline) {
      try {
        await ask();
        return true;
      } catch (error) {
        if (error instanceof ServiceError && error.code === 'conflict') return false;
        if (!isRetryable(error)) {
          refusals.push(error instanceof Error ? error.message : String(error));
          return false;
        }
      }
      await delay(200 + this.#random.next() * 300);
    }
    return false;
  }
}

function isRetryable(error: unknown): boolean {
  return error instanceof ServiceError && ERRORS[error.code].retryable;
}
