import type { Readable } from 'node:stream';
import { ServiceError } from '../protocol/errors.ts';

/**
 * What an upload brings, chunk by chunk. The stream stays its owner's: it is not destroyed when reading ends early.
 * @throws ServiceError `request_timeout` when nothing comes for `idleMs`; `invalid_request` when it breaks off
 */
export function uploadChunks(content: Readable, idleMs: number): AsyncGenerator<Buffer> {
  // It may fail before the first read, when nobody listens yet; the read then fails in its place.
  content.on('error', () => {});
  return readChunks(content, idleMs);
}

async function* readChunks(content: Readable, idleMs: number): AsyncGenerator<Buffer> {
  const chunks = content.iterator({ destroyOnReturn: false });
  for (;;) {
    const { done, value } = await nextWithin(chunks, idleMs);
    if (done === true) return;
    let resumed = false;
    try {
      yield Buffer.isBuffer(value) ? value : Buffer.from(String(value));
      resumed = true;
    } finally {
      if (!resumed) await chunks.return?.();
    }
  }
}

async function nextWithin(chunks: AsyncIterator<unknown>, idleMs: number): Promise<IteratorResult<unknown>> {
  const idle = Promise.withResolvers<never>();
  const timer = setTimeout(() => idle.reject(tooSlow(idleMs)), idleMs);
  try {
    return await Promise.race([chunks.next(), idle.promise]);
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause;
    throw new ServiceError('invalid_request', 'The upload broke off before its end', { cause });
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow(idleMs: number): ServiceError {
  return new ServiceError('request_timeout', `The upload brought nothing for ${idleMs} ms`);
}
