import type { FastifyRequest } from 'fastify';
import { ServiceError } from '../../protocol/errors.ts';
import { MAX_BODY_BYTES } from '../../protocol/http-schemas.ts';
import { parseJson } from '../../protocol/json.ts';

/** All bodies that are being read, together. */
const MAX_BYTES_IN_FLIGHT = 512 * 1024 * 1024;
const DEADLINE_MS = 30_000;

/** Reads JSON bodies; bounded in size, in time, and in what all of them hold at once. */
export class JsonBodies {
  #bytes = 0;

  /** @throws ServiceError `unsupported_media_type`, `payload_too_large`, `request_timeout`, `invalid_request`, `too_many` */
  async read(request: FastifyRequest): Promise<unknown> {
    refuseEncoding(request);
    refuseMediaType(request);
    const declared = Number(request.headers['content-length'] ?? 0);
    if (declared > MAX_BODY_BYTES) throw tooLarge();
    return parse(await this.#collect(request));
  }

  async #collect({ raw }: FastifyRequest): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    // The request is left standing when it is late: destroyed, it would take the answer with it.
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(lateBody()), DEADLINE_MS);
    const incoming = raw.iterator({ destroyOnReturn: false });
    try {
      for (;;) {
        const { done, value: chunk } = await Promise.race([incoming.next(), late.promise]);
        if (done) return Buffer.concat(chunks);
        chunks.push(chunk);
        bytes += chunk.length;
        this.#bytes += chunk.length;
        if (bytes > MAX_BODY_BYTES) throw tooLarge();
        if (this.#bytes > MAX_BYTES_IN_FLIGHT) {
          throw new ServiceError('too_many', 'Too many bodies are being read at once', {
            data: { retryAfterMs: 1_000 },
          });
        }
      }
    } catch (error) {
      if (!raw.destroyed || error instanceof ServiceError) throw error;
      throw new ServiceError('invalid_request', 'The connection ended before the body did', { cause: error });
    } finally {
      clearTimeout(timer);
      this.#bytes -= bytes;
    }
  }
}

function lateBody(): ServiceError {
  return new ServiceError('request_timeout', `The body did not arrive within ${DEADLINE_MS / 1000} s`);
}

function parse(body: Buffer): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'The body is not UTF-8', { cause });
  }
  try {
    return parseJson(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new ServiceError('invalid_request', `The body is not JSON: ${cause.message}`, { cause });
  }
}

/** Nothing is unpacked here, so that no small body can become a large one. */
export function refuseEncoding({ headers }: FastifyRequest): void {
  const encoding = headers['content-encoding'];
  if (encoding === undefined || encoding === 'identity') return;
  throw new ServiceError('unsupported_media_type', `A body in ${encoding} is not taken; send it as it is`);
}

function refuseMediaType({ raw }: FastifyRequest): void {
  const type = raw.headersDistinct['content-type']?.join(', ') ?? '';
  if (/^application\/json *(; *charset *= *"?utf-8"? *)?$/i.test(type)) return;
  const given = type === '' ? 'The body has no content type' : `A body of type ${type.slice(0, 100)} is not taken here`;
  throw new ServiceError('unsupported_media_type', `${given}; send JSON with content-type: application/json`);
}

function tooLarge(): ServiceError {
  return new ServiceError('payload_too_large', `The body is longer than ${MAX_BODY_BYTES} bytes`);
}
