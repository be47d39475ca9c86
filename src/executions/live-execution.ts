import type { Stop } from '../claude/outcome.ts';
import { OutputText } from '../claude/output-text.ts';
import type { ClaudeProcess } from '../claude/process.ts';
import type { EventWriter } from '../event-log/event-writer.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';
import type { ExecutionRecord } from '../storage/storage.ts';
import { assertTransition } from './execution-state.ts';
import { PausableTimer } from './pausable-timer.ts';
import type { Spare } from './warm-spare.ts';

/**
 * Longer than this the CLI would throw away an answer in flight and pay for it again (measured: its idle watchdog
 * fires on a resume after 300 s), so a paused run goes on by itself.
 */
const MAX_PAUSE_MS = 240_000;

/** An execution that this process owns and has not finished: its record, its writer, and what can be done to it. */
export class LiveExecution {
  readonly record: ExecutionRecord;
  readonly writer: EventWriter;
  readonly output = new OutputText();
  /** Aborted when the run is to end at once, without grace. */
  readonly force = new AbortController();
  /** Aborted when the end cannot be stored, or another service took the execution over: readers here wait in vain. */
  readonly givenUp = new AbortController();
  /** Resolves when `execution.finished` is stored, or this process has given the execution up. */
  readonly ended: Promise<void>;
  /** Resolves when the storage failed under this run. */
  readonly storageFailed: Promise<void>;
  /** What the model calls of this execution have cost so far, in USD, by the gateway's count. */
  spentUsd = 0;
  #spare: Spare | undefined;
  readonly #timeLimit: PausableTimer;
  readonly #stall: PausableTimer;
  readonly #pauseLimit: PausableTimer;
  #process: ClaudeProcess | undefined;
  #addTurn: ((text: string) => boolean) | undefined;
  #stop: Stop | undefined;
  #onStop: (() => void) | undefined;
  #lastOutput = performance.now();
  #resolveEnded: () => void = () => {};
  #resolveStorageFailed: () => void = () => {};

  constructor(
    record: ExecutionRecord,
    options: { writer: EventWriter; stallAfterMs: number; spare?: Spare | undefined },
  ) {
    this.record = record;
    this.writer = options.writer;
    this.#spare = options.spare;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.storageFailed = new Promise((resolve) => {
      this.#resolveStorageFailed = resolve;
    });
    const limitMs = record.execution.timeLimit.ms;
    this.#timeLimit = new PausableTimer(limitMs, () => {
      this.requestStop({
        kind: 'timed_out',
        reason: 'time_limit',
        text: `The run took longer than its time limit of ${limitMs} ms. Raise timeLimitMs, or ask for less.`,
      });
    });
    this.#stall = new PausableTimer(options.stallAfterMs, () => this.#reportStall());
    this.#pauseLimit = new PausableTimer(MAX_PAUSE_MS, () => void this.resume('time'));
  }

  get execution(): Execution {
    return this.record.execution;
  }

  /** The process that waits for this execution; given once. Who takes it uses it or ends it. */
  takeSpare(): Spare | undefined {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare;
  }

  /** The execution as a caller sees it now. */
  snapshot(): Execution {
    return { ...this.execution, partialText: this.output.toString(), lastSeq: this.writer.lastSeq };
  }

  get stop(): Stop | undefined {
    return this.#stop;
  }

  /** Called once, at once if a stop was asked for already. */
  onStop(listener: () => void): void {
    this.#onStop = listener;
    if (this.#stop !== undefined) listener();
  }

  /** The first reason to stop counts; later ones change nothing. */
  requestStop(stop: Stop): void {
    if (this.#stop !== undefined || this.execution.state === 'finished') return;
    this.#stop = stop;
    this.#onStop?.();
  }

  /** The storage took no more of this run's events; a run that nobody can read about is ended. */
  reportStorageFailure(error: unknown): void {
    const why = error instanceof Error ? error.message : String(error);
    this.requestStop({ kind: 'failed', reason: 'storage_full', text: `The event log could not be written: ${why}` });
    this.#resolveStorageFailed();
  }

  /** The process ended by itself, or its result is in: what comes after cannot change the outcome. */
  settle(): void {
    this.#onStop = undefined;
    this.#timeLimit.stop();
    this.#stall.stop();
  }

  /** Changes the record; it is stored with the next event. */
  update(change: Partial<Execution>): void {
    if (change.state !== undefined && change.state !== this.execution.state) {
      assertTransition(this.execution.state, change.state);
    }
    this.record.execution = { ...this.execution, ...change };
  }

  /** @param addTurn adds a user turn; false when the last one is over */
  attach(process: ClaudeProcess, addTurn: (text: string) => boolean): void {
    this.#process = process;
    this.#addTurn = addTurn;
    this.#timeLimit.start();
    this.#stall.touch();
  }

  detach(): void {
    this.#process = undefined;
    this.#addTurn = undefined;
    this.#pauseLimit.stop();
    this.#stall.stop();
  }

  touch(): void {
    this.#lastOutput = performance.now();
    this.#stall.touch();
  }

  async pause(): Promise<void> {
    if (this.execution.state === 'paused') return;
    if (this.execution.state !== 'running' || this.#process === undefined || this.#stop !== undefined) {
      throw new ServiceError('conflict', `An execution that is ${this.execution.state} cannot be paused now`, {
        data: { state: this.execution.state },
      });
    }
    await this.#process.cliPid;
    if (!(await this.#process.pause())) return;
    if (this.execution.state !== 'running') return;
    this.#timeLimit.pause();
    this.#stall.pause();
    this.#pauseLimit.touch();
    this.update({ state: 'paused' });
    this.writer.append('execution.paused', {}, this.execution);
    await this.writer.flush();
  }

  async resume(by: 'caller' | 'time'): Promise<void> {
    if (this.execution.state === 'running' && by === 'caller') return;
    if (this.execution.state !== 'paused') {
      throw new ServiceError('conflict', `An execution that is ${this.execution.state} cannot be resumed`, {
        data: { state: this.execution.state },
      });
    }
    this.#pauseLimit.stop();
    this.update({ state: 'running' });
    this.writer.append('execution.resumed', { by }, this.execution);
    await this.#process?.resume();
    this.#timeLimit.resume();
    this.#stall.resume();
    await this.writer.flush();
  }

  /** Adds a user turn that runs after the current one. */
  addTurn(text: string): void {
    if (this.#addTurn?.(text)) return;
    const { state } = this.execution;
    const why = state === 'running' || state === 'paused' ? 'has no turn under way' : `is ${state}`;
    throw new ServiceError('conflict', `The execution ${why}, and takes no further turn`, { data: { state } });
  }

  finished(): void {
    this.settle();
    this.detach();
    this.#resolveEnded();
  }

  #reportStall(): void {
    if (this.execution.state !== 'running' || this.#stop !== undefined) return;
    this.writer.append('execution.stalled', { silentMs: Math.round(performance.now() - this.#lastOutput) });
  }
}
