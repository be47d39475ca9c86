import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Tells the command line of the same machine where the service on this data folder listens. */
export interface ServerFile {
  url: string;
  pid: number;
  /** Tells this service from another one in another container, which may have the same url and pid. */
  id: string;
}

function serverFile(dataDirectory: string): string {
  return join(dataDirectory, 'server.json');
}

export async function writeServerFile(dataDirectory: string, content: ServerFile): Promise<void> {
  const file = serverFile(dataDirectory);
  const fresh = `${file}.${content.id}`;
  await writeFile(fresh, `${JSON.stringify(content)}\n`, { mode: 0o600 });
  await rename(fresh, file);
}

/** Removes the file, unless another service has written its own meanwhile. */
export async function removeServerFile(dataDirectory: string, id: string): Promise<void> {
  const file = serverFile(dataDirectory);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  if (text.includes(`"id":"${id}"`)) await rm(file, { force: true });
}
