import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isDiskFull } from './translate-error.ts';

/** What the end of a run may need on a full disk: the events that wait (see `EventWriter`) and the record. */
export const RESERVE_BYTES = 1024 * 1024;

/** Disk space held back, so that the end of a run can be stored when nothing else can. */
export interface Reserve {
  /** Whether the space is held; makes the file when there is room for it. */
  hold(): boolean;
  /** Gives the space up; `false` when there was none. */
  release(): boolean;
}

export function createReserve(dataDirectory: string): Reserve {
  const file = join(dataDirectory, 'reserve');
  const held = (): boolean => statSync(file, { throwIfNoEntry: false })?.size === RESERVE_BYTES;
  return {
    hold(): boolean {
      return held() || writeReserve(file);
    },
    release(): boolean {
      const had = held();
      rmSync(file, { force: true });
      return had;
    },
  };
}

/** Random bytes, written and synced: a hole or a page of zeros holds no space on some file systems. */
function writeReserve(file: string): boolean {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, 'w', 0o600);
    const bytes = randomBytes(RESERVE_BYTES);
    for (let written = 0; written < bytes.length; ) {
      written += writeSync(descriptor, bytes, written);
    }
    fsyncSync(descriptor);
    return true;
  } catch (error) {
    if (!isDiskFull(error)) {
      throw error;
    }
    rmSync(file, { force: true });
    return false;
  } finally {
    if (descriptor !== undefined) {
      closeSync(descriptor);
    }
  }
}
