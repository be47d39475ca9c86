import { claimMessage } from '../claude/command.ts';
import { readControlAnswer } from '../claude/control-answer.ts';
import { type ClaudeOptions, type ClaudeProcess, startClaude } from '../claude/process.ts';
import type { Egress } from '../egress/egress-proxy.ts';
import type { Identity } from '../isolation/launcher-arguments.ts';
import type { SpareNames } from './warm-place.ts';
import type { WarmProfile } from './warm-profile.ts';

/** What a waiting process may print before it is used (it is about 17 KB with 2.1.330); one that prints more is ended. */
const MAX_KEPT_CHARACTERS = 1024 * 1024;
const MAX_KEPT_STDERR = 16 * 1024;
const INITIALIZE_LIMIT_MS = 10_000;
const CLAIM_LIMIT_MS = 2_000;

/** A folder that a box shows. One that is made anew under its name is another, and does not show. */
export interface BoundFolder {
  path: string;
  inode: number;
}

export interface SpareOptions {
  names: SpareNames;
  profile: WarmProfile;
  /** The gateway token it was started with; nothing is attached to it until a run is. */
  token: string;
  /** Its way out, where it has one; a run that uses it says what it may reach. It is closed when nothing is left. */
  egress: Egress | undefined;
  identity: Identity | undefined;
  /** The one folder it can be claimed for, where it waits in a box. */
  bound: BoundFolder | undefined;
  claude: Omit<ClaudeOptions, 'onStderr'>;
}

/** A `claude` process that is started and initialised, and waits for the prompt of the one run that it will serve. */
export class Spare {
  readonly names: SpareNames;
  readonly profile: WarmProfile;
  readonly token: string;
  readonly egress: Egress | undefined;
  readonly identity: Identity | undefined;
  readonly bound: BoundFolder | undefined;
  readonly startedAt: number = performance.now();
  /** Whether it has answered its options; `false` when it ended, or took longer than 10 seconds. */
  readonly initialised: Promise<boolean>;
  /** Resolves when nothing of it is left. */
  readonly gone: Promise<void>;
  readonly #claude: ClaudeProcess;
  readonly #printed: AsyncIterator<string[]>;
  /** The next lines; whoever reads, the keeping or the run, waits for the same ones. */
  #next: Promise<IteratorResult<string[]>>;
  readonly #kept: string[] = [];
  #keptCharacters = 0;
  #keptStderr = '';
  #onStderr: ((text: string) => void) | undefined;
  readonly #asked = new Map<string, (succeeded: boolean) => void>();
  #state: 'waiting' | 'handed_over' | 'ended' = 'waiting';

  constructor({ names, profile, token, egress, identity, bound, claude }: SpareOptions) {
    this.names = names;
    this.profile = profile;
    this.token = token;
    this.egress = egress;
    this.identity = identity;
    this.bound = bound;
    this.#claude = startClaude({ ...claude, onStderr: (text) => this.#stderr(text) });
    this.#printed = this.#claude.batches[Symbol.asyncIterator]();
    this.#next = this.#printed.next();
    this.gone = this.#claude.exited.then(() => this.#end());
    this.initialised = this.#ask('initialize', profile.initialize, INITIALIZE_LIMIT_MS);
    void this.#keepLines();
  }

  get alive(): boolean {
    return this.#state !== 'ended';
  }

  /** Makes a `named` process work in a folder; `false` when it refused, did not answer in 2 seconds, or has ended. */
  claim(folder: string): Promise<boolean> {
    return this.#ask('claim', claimMessage(folder), CLAIM_LIMIT_MS);
  }

  /**
   * The process as its run reads it. What it printed so far comes with the first lines it prints from now on, so that one
   * which prints no more has said nothing, and its run can be started anew.
   */
  handOver(onStderr: (text: string) => void): ClaudeProcess {
    this.#state = 'handed_over';
    this.#onStderr = onStderr;
    if (this.#keptStderr !== '') onStderr(this.#keptStderr);
    return { ...this.#claude, batches: this.#remaining() };
  }

  kill(): Promise<void> {
    this.#claude.kill();
    return this.gone;
  }

  async #keepLines(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#next;
        if (this.#state !== 'waiting') return;
        if (done === true) break;
        this.#keep(value);
        this.#next = this.#printed.next();
      }
    } catch {
      // A line that is too long: the run would be told so; here it only makes the process unfit.
    }
    this.#end();
    this.#claude.kill();
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) {
      this.#kept.push(line);
      this.#keptCharacters += line.length;
      const answer = this.#asked.size === 0 ? undefined : readControlAnswer(line);
      if (answer === undefined) continue;
      const fits = answer.requestId !== 'claim' || answer.status === 'ok';
      this.#asked.get(answer.requestId)?.(answer.succeeded && fits);
    }
    if (this.#keptCharacters > MAX_KEPT_CHARACTERS) this.#claude.kill();
  }

  async *#remaining(): AsyncGenerator<string[], void, void> {
    let before = this.#kept.splice(0);
    for (;;) {
      const { done, value } = await this.#next;
      if (done === true) return;
      yield [...before, ...value];
      before = [];
      this.#next = this.#printed.next();
    }
  }

  async #ask(requestId: string, message: object, limitMs: number): Promise<boolean> {
    if (this.#state !== 'waiting') return false;
    const answered = Promise.withResolvers<boolean>();
    const limit = setTimeout(() => answered.resolve(false), limitMs);
    this.#asked.set(requestId, answered.resolve);
    void this.#claude.send(message);
    const answer = await answered.promise;
    clearTimeout(limit);
    this.#asked.delete(requestId);
    return answer;
  }

  #stderr(text: string): void {
    if (this.#onStderr !== undefined) this.#onStderr(text);
    else this.#keptStderr = (this.#keptStderr + text).slice(-MAX_KEPT_STDERR);
  }

  #end(): void {
    this.#state = 'ended';
    for (const answer of this.#asked.values()) answer(false);
  }
}
