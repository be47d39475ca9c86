import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { send, unanswered } from './call-server.ts';
import type { ServerAddress } from './server-address.ts';

/** The entries of a server's audit log after one, as they are stored, up to the newest. */
export async function* auditLines(server: ServerAddress, after: number): AsyncGenerator<string, void, void> {
  const { requestMs } = server.patience;
  const connection = new AbortController();
  let timer = setTimeout(() => connection.abort(), requestMs);
  try {
    const call = {
      method: 'GET',
      path: 'v1/audit',
      query: { after },
      headers: { accept: 'application/x-ndjson' },
    } as const;
    const { body } = await send(server, call, connection.signal);
    if (body === null) return;
    for await (const line of createInterface({ input: Readable.fromWeb(body) })) {
      clearTimeout(timer);
      if (line !== '') yield line;
      timer = setTimeout(() => connection.abort(), requestMs);
    }
  } catch (error) {
    throw unanswered(server, error);
  } finally {
    clearTimeout(timer);
    connection.abort();
  }
}
