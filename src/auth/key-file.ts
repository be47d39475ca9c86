import { randomBytes } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where the plain key is kept for the command line of the same machine. */
export function keyFile(dataDirectory: string): string {
  return join(dataDirectory, 'key');
}

/** Never readable by others, not even for a moment, and never half written. */
export async function writeKeyFile(dataDirectory: string, key: string): Promise<void> {
  const file = keyFile(dataDirectory);
  const fresh = `${file}.${randomBytes(4).toString('hex')}`;
  try {
    await writeFile(fresh, `${key}\n`, { mode: 0o600, flag: 'wx' });
    await rename(fresh, file);
  } finally {
    await rm(fresh, { force: true });
  }
}
