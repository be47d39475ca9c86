import { randomBytes } from 'node:crypto';

/** Random bytes are had a page at a time: asking for sixteen costs as much. */
let pool = Buffer.alloc(0);

function take16(): Buffer {
  if (pool.length < 16) pool = randomBytes(4096);
  const taken = pool.subarray(0, 16);
  pool = pool.subarray(16);
  return taken;
}

let lastMs = 0;
let counter = 0;

/**
 * A new UUIDv7 (RFC 9562 section 5.7). Ids made by one process sort by age: a 12-bit counter orders those of the
 * same millisecond, and the clock is never read backwards.
 */
export function newId(): string {
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    counter = take16().readUInt8(0);
  } else {
    counter += 1;
    if (counter > 0xfff) {
      lastMs += 1;
      counter = 0;
    }
  }
  const bytes = take16();
  bytes.writeUIntBE(lastMs, 0, 6);
  bytes.writeUInt16BE(0x7000 | counter, 6);
  bytes.writeUInt8(0x80 | (bytes.readUInt8(8) & 0x3f), 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
