import { type ExecutionRequest, parseExecutionRequest } from '../protocol/execution-request.ts';
import type { Caller } from './new-execution.ts';
import { removeRunFolder } from './run-directories.ts';
import { forgetSpare, removeSpare } from './warm-place.ts';
import { profileOf, type WarmProfile } from './warm-profile.ts';
import type { Spare } from './warm-spare.ts';
import { startSpare, type WarmContext } from './warm-start.ts';
import { WarmWishes } from './warm-wishes.ts';

/** So long after a run began nothing is started ahead, so that it does not slow the run's first words. */
const QUIET_AFTER_START_MS = 300;
const MAX_AGE_MS = 10 * 60_000;
const LOOK_EVERY_MS = 15_000;
const FIRST_BACK_OFF_MS = 5_000;
const MAX_BACK_OFF_MS = 5 * 60_000;

/**
 * Keeps `claude` processes started ahead, for runs like the latest ones, so that a run does not wait for a start. Each
 * serves one run at most, of its own tenant and with exactly its options. It does nothing until it is opened.
 */
export class WarmPool {
  readonly #context: WarmContext;
  readonly #size: number;
  readonly #wishes: WarmWishes;
  /** Those that wait or are being made. */
  readonly #spares = new Set<Spare>();
  readonly #ready = new Set<Spare>();
  /** Those that an execution has taken and not begun to use. */
  readonly #lent = new Set<Spare>();
  readonly #ending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #state: 'unopened' | 'open' | 'stopped' = 'unopened';
  #refilling: Promise<void> | undefined;
  #wake: NodeJS.Timeout | undefined;
  #looking: NodeJS.Timeout | undefined;
  #quietUntil = 0;
  #backingOffUntil = 0;
  #backOffMs = FIRST_BACK_OFF_MS;
  #claims: 'possible' | 'refused' = 'possible';

  constructor(context: WarmContext, size: number) {
    this.#context = context;
    const usual = this.#profileOf(parseExecutionRequest({ prompt: 'x' }), { tenant: 'local' });
    this.#size = size;
    this.#wishes = new WarmWishes(size, usual);
  }

  open(): void {
    const { binary } = this.#context;
    if (this.#state !== 'unopened' || this.#size === 0 || !binary.usable) return;
    this.#state = 'open';
    this.#looking = setInterval(() => this.#refill(), LOOK_EVERY_MS).unref();
    this.#refill();
  }

  /** The processes that a run could take now. */
  ready(): { runId: string; kind: WarmProfile['kind']; workspace: string | undefined }[] {
    const alive = [...this.#ready].filter((spare) => spare.alive);
    return alive.map(({ names, profile: { kind, workspace } }) => ({ runId: names.runId, kind, workspace }));
  }

  /**
   * Calls `accept` with a process that waits for a run like this one, if there is one and `atOnce` says that the run
   * would use it now. `accept` calls `keep` once the run is stored; else the process goes on waiting.
   */
  async lend<T>(
    run: { request: ExecutionRequest; caller: Caller; atOnce: boolean },
    accept: (spare: Spare | undefined, keep: () => void) => Promise<T>,
  ): Promise<T> {
    if (this.#state !== 'open') return accept(undefined, () => {});
    const profile = this.#profileOf(run.request, run.caller);
    const spare = run.atOnce && profile !== undefined ? this.#take(profile) : undefined;
    let kept = false;
    try {
      return await accept(spare, () => {
        kept = true;
        if (profile !== undefined) this.#wishes.add(profile);
        this.runStarts();
        if (spare !== undefined) this.#track(forgetSpare(this.#context.settings.dataDirectory, spare.names.runId));
      });
    } finally {
      if (!kept && spare !== undefined) this.#giveBack(spare);
    }
  }

  /** A run begins: nothing is started ahead for a moment. */
  runStarts(): void {
    this.#quietUntil = performance.now() + QUIET_AFTER_START_MS;
    this.#refill();
  }

  /** The run has begun to use the process that it took, and ends it. */
  used(spare: Spare): void {
    this.#lent.delete(spare);
  }

  /** Claims do not work here; no process is kept for them any more. */
  claimRefused(): void {
    if (this.#claims === 'refused') return;
    this.#claims = 'refused';
    this.#context.logger.warn(
      'claude refused to be claimed for a workspace; runs in named ones start cold from now on',
    );
  }

  /** Ends a process that a stored execution took and will not use. Its run folder goes, the rest is the execution's. */
  async abandon(spare: Spare): Promise<void> {
    const { settings, logger } = this.#context;
    this.#lent.delete(spare);
    await spare.kill();
    await removeRunFolder(settings.dataDirectory, spare.names.runId, logger);
  }

  /** Starts no more, and lends no more; `close` ends those that wait. */
  stop(): void {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    clearTimeout(this.#wake);
    clearInterval(this.#looking);
    this.#closing.abort();
  }

  /** Ends all that wait, and removes their folders. */
  async close(): Promise<void> {
    this.stop();
    for (const spare of this.#spares) this.#discard(spare);
    for (const spare of this.#lent) this.#track(this.abandon(spare));
    await this.#refilling;
    while (this.#ending.size > 0) await Promise.all(this.#ending);
  }

  #profileOf(request: ExecutionRequest, caller: Caller): WarmProfile | undefined {
    const { access, settings } = this.#context;
    const operatorKind = 'credential' in access.operator ? access.operator.credential.kind : undefined;
    return profileOf(request, caller, { ...settings, operatorKind });
  }

  #take(profile: WarmProfile): Spare | undefined {
    const spare = [...this.#ready].find(({ alive, profile: { key } }) => alive && key === profile.key);
    if (spare === undefined) return undefined;
    this.#ready.delete(spare);
    this.#spares.delete(spare);
    this.#lent.add(spare);
    this.#backOffMs = FIRST_BACK_OFF_MS;
    return spare;
  }

  #giveBack(spare: Spare): void {
    this.#lent.delete(spare);
    this.#spares.add(spare);
    if (spare.alive && this.#state === 'open') this.#ready.add(spare);
    else this.#discard(spare);
    this.#refill();
  }

  #refill(): void {
    if (this.#state !== 'open' || this.#refilling !== undefined) return;
    const waitMs = Math.max(this.#quietUntil, this.#backingOffUntil) - performance.now();
    clearTimeout(this.#wake);
    if (waitMs > 0) {
      this.#wake = setTimeout(() => this.#refill(), waitMs).unref();
      return;
    }
    const profile = this.#nextMissing();
    if (profile === undefined) return;
    this.#refilling = this.#make(profile)
      .catch((error: unknown) => {
        this.#context.logger.error({ err: error }, 'no process could be started ahead');
        this.#backOff();
      })
      .then(() => {
        this.#refilling = undefined;
        this.#refill();
      });
  }

  /** What to start next; a process that is too old, or stands in its way, is ended. */
  #nextMissing(): WarmProfile | undefined {
    const tooOld = performance.now() - MAX_AGE_MS;
    for (const spare of this.#ready) if (spare.startedAt < tooOld) this.#discard(spare);
    const shares = this.#wishes.shares(({ kind }) => kind === 'fresh' || this.#claims === 'possible');
    const held = (key: string): number => [...this.#spares].filter(({ profile }) => profile.key === key).length;
    const missing = shares.find(({ profile, count }) => held(profile.key) < count)?.profile;
    if (missing === undefined || this.#spares.size < this.#size) return missing;
    const share = (key: string): number => shares.find(({ profile }) => profile.key === key)?.count ?? 0;
    const surplus = [...this.#ready].find(({ profile: { key } }) => held(key) > share(key));
    if (surplus === undefined) return undefined;
    this.#discard(surplus);
    return missing;
  }

  async #make(profile: WarmProfile): Promise<void> {
    const leave = await this.#context.starts.enter('spare', this.#closing.signal);
    if (leave === undefined) return;
    try {
      const spare = await startSpare(this.#context, profile);
      if (spare === undefined) {
        this.#wishes.remove(profile);
        return;
      }
      if (this.#closing.signal.aborted) {
        this.#discard(spare);
        return;
      }
      this.#spares.add(spare);
      void spare.gone.then(() => this.#lost(spare));
      if ((await spare.initialised) && this.#state === 'open' && spare.alive) this.#ready.add(spare);
      else this.#lost(spare);
    } finally {
      leave();
    }
  }

  /** One that ended while it waited, or never came to wait: the next try is put off. */
  #lost(spare: Spare): void {
    if (!this.#spares.has(spare)) return;
    this.#discard(spare);
    this.#backOff();
  }

  #backOff(): void {
    this.#backingOffUntil = performance.now() + this.#backOffMs;
    this.#backOffMs = Math.min(this.#backOffMs * 2, MAX_BACK_OFF_MS);
    this.#refill();
  }

  #discard(spare: Spare): void {
    this.#spares.delete(spare);
    this.#ready.delete(spare);
    this.#track(spare.kill().then(() => removeSpare(this.#context.settings.dataDirectory, spare.names)));
  }

  #track(ending: Promise<void>): void {
    const tracked = ending
      .catch((error: unknown) => this.#context.logger.warn({ err: error }, 'a waiting process left something behind'))
      .finally(() => this.#ending.delete(tracked));
    this.#ending.add(tracked);
  }
}
