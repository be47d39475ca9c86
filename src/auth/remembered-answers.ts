import { createHmac, randomBytes } from 'node:crypto';

const TAKEN_MS = 5 * 60_000;
const REFUSED_MS = 30_000;
/** Of each kind, so that a flood of wrong ones does not drive out the right ones. */
const MAX_REMEMBERED = 10_000;

/** Remembers for a while which secrets were taken and which refused, by a hash under a key that dies with the process. */
export class RememberedAnswers {
  readonly #key = randomBytes(32);
  readonly #taken = new Map<string, number>();
  readonly #refused = new Map<string, number>();
  readonly #now: () => number;

  /** @param now in ms, monotonic */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  find(secret: string): 'taken' | 'refused' | undefined {
    const hash = this.hash(secret);
    if (this.#isFresh(this.#taken, hash, TAKEN_MS)) return 'taken';
    return this.#isFresh(this.#refused, hash, REFUSED_MS) ? 'refused' : undefined;
  }

  remember(secret: string, answer: 'taken' | 'refused'): void {
    const hash = this.hash(secret);
    this.#taken.delete(hash);
    this.#refused.delete(hash);
    const answers = answer === 'taken' ? this.#taken : this.#refused;
    answers.set(hash, this.#now());
    const [oldest] = answers.keys();
    if (answers.size > MAX_REMEMBERED && oldest !== undefined) answers.delete(oldest);
  }

  /** Names a secret inside this process. */
  hash(secret: string): string {
    return createHmac('sha256', this.#key).update(secret).digest('base64');
  }

  #isFresh(answers: Map<string, number>, hash: string, forMs: number): boolean {
    const at = answers.get(hash);
    return at !== undefined && this.#now() - at < forMs;
  }
}
