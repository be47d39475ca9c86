import { readFile, stat } from 'node:fs/promises';
import { type IssuerKey, keysInSet } from './issuer-keys.ts';

const MAX_BYTES = 256 * 1024;
const FETCH_LIMIT_MS = 5_000;
/** An unknown `kid`, and one after the other of those who make them up, has the set read again once in so long. */
const READ_AGAIN_AFTER_MS = 60_000;
/** A key that the issuer has withdrawn counts for so long at most while the set can be read. */
const REFRESH_AFTER_MS = 600_000;
/** For so long a set counts that cannot be read any more. */
const FORGET_AFTER_MS = 24 * 3_600_000;

export interface KeySetOptions {
  /** Where the JWKS is: an https URL, an http URL on loopback, or the absolute path of a file. */
  source: string;
  logger: { warn(fields: object, message: string): void };
}

/** The keys of an issuer that publishes them as a JWKS. Read when the first token comes, and kept. */
export class KeySet {
  readonly #options: KeySetOptions;
  #keys: ReadonlyMap<string, IssuerKey> = new Map();
  #readAt = Number.NEGATIVE_INFINITY;
  #triedAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
  }

  /** The key of this name; undefined where the issuer has none, or nobody can say. */
  async find(kid: string): Promise<IssuerKey | undefined> {
    const age = performance.now() - this.#readAt;
    if (age > FORGET_AFTER_MS || !this.#keys.has(kid)) await this.#read();
    else if (age > REFRESH_AFTER_MS) void this.#read();
    return performance.now() - this.#readAt > FORGET_AFTER_MS ? undefined : this.#keys.get(kid);
  }

  /** Once at a time, and once in a while. Never rejects. */
  async #read(): Promise<void> {
    if (this.#reading === undefined && performance.now() - this.#triedAt < READ_AGAIN_AFTER_MS) return;
    this.#reading ??= this.#readNow().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #readNow(): Promise<void> {
    const { source, logger } = this.#options;
    this.#triedAt = performance.now();
    try {
      this.#keys = keysInSet(await (URL.canParse(source) ? fetchText(source) : fileText(source)));
      this.#readAt = performance.now();
    } catch (error) {
      // Whatever is wrong with it, tokens are judged by the keys that are known, and the operator is told.
      logger.warn({ err: error, source }, 'the keys of CC_JWT_JWKS cannot be read');
    }
  }
}

async function fileText(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
  return readFile(path, 'utf8');
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(FETCH_LIMIT_MS),
  });
  if (!response.ok || response.body === null) throw new Error(`the answer has the status ${response.status}`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
