import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isBusy } from './translate-error.ts';

const ID = /^[A-Za-z0-9_-]{1,64}$/;
const SUFFIX = '.sqlite';
const MAX_SWEPT = 200;
const REGISTER_TRIES = 10;

/**
 * Which service instances live. Each holds an exclusive lock on a file of its own, which the kernel drops when the
 * process dies; this is true across containers, where process ids say nothing.
 */
export class Instances {
  readonly #folder: string;
  readonly #held = new Map<string, DatabaseSync>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  register(id: string): void {
    if (!ID.test(id)) {
      throw new Error(`${JSON.stringify(id)} is not an instance id`);
    }
    this.#sweep();
    for (let tries = 0; tries < REGISTER_TRIES && !this.#held.has(id); tries += 1) {
      this.#tryRegister(id);
    }
    if (!this.#held.has(id)) {
      throw new Error(`instance ${id} is registered by another process`);
    }
  }

  /** Whether the instance's process runs. Removes the file of a dead one. */
  alive(id: string): boolean {
    if (this.#held.has(id)) {
      return true;
    }
    if (!ID.test(id) || !existsSync(this.#file(id))) {
      return false;
    }
    const db = lock(this.#file(id));
    if (db === undefined) {
      return true;
    }
    rmSync(this.#file(id), { force: true });
    db.close();
    return false;
  }

  close(): void {
    for (const [id, db] of this.#held) {
      rmSync(this.#file(id), { force: true });
      db.close();
    }
    this.#held.clear();
  }

  /** A sweep elsewhere may remove the file between its making and its locking: a lock on a removed file is none. */
  #tryRegister(id: string): void {
    const db = lock(this.#file(id));
    if (db === undefined) {
      return;
    }
    if (existsSync(this.#file(id))) {
      this.#held.set(id, db);
    } else {
      db.close();
    }
  }

  #sweep(): void {
    for (const name of readdirSync(this.#folder).slice(0, MAX_SWEPT)) {
      if (name.endsWith(SUFFIX)) {
        this.alive(name.slice(0, -SUFFIX.length));
      }
    }
  }

  #file(id: string): string {
    return join(this.#folder, id + SUFFIX);
  }
}

/** Takes the file's exclusive lock without waiting; `undefined` when another connection holds it. */
function lock(file: string): DatabaseSync | undefined {
  const db = new DatabaseSync(file, { timeout: 0 });
  try {
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db.close();
    if (isBusy(error)) {
      return undefined;
    }
    throw error;
  }
}
