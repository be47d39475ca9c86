/** What one event may hold, in characters, its field names included. */
const MAX_EVENT_LENGTH = 64 * 1024 * 1024;

export interface SseMessage {
  /** The last event id as it is at this message: its own, or the one before. */
  id: string;
  /** `message` when none is given. */
  event: string;
  data: string;
}

/** An event is longer than is taken. */
export class SseOverflow extends Error {}

/**
 * Reads an event stream piece by piece, wherever it is split (WHATWG HTML, section 9.2.6). `retry` is not used here:
 * whoever reads has a back-off of their own.
 */
export class SseParser {
  // It takes a byte order mark away, as the rules want.
  readonly #decoder = new TextDecoder();
  readonly #maxLength: number;
  /** The pieces of a line that has not ended yet. */
  #line: string[] = [];
  #afterCr = false;
  #length = 0;
  #id = '';
  #event = '';
  #data: string[] = [];

  constructor(maxLength: number = MAX_EVENT_LENGTH) {
    this.#maxLength = maxLength;
  }

  /**
   * The messages that end in this piece.
   * @throws SseOverflow
   */
  push(bytes: Uint8Array): SseMessage[] {
    const text = this.#decoder.decode(bytes, { stream: true });
    const messages: SseMessage[] = [];
    // The LF of a CRLF that was split after its CR.
    let start = this.#afterCr && text.startsWith('\n') ? 1 : 0;
    if (text !== '') this.#afterCr = text.endsWith('\r');
    for (const end of lineEnds(text, start)) {
      this.#add(text.slice(start, end));
      start = text.startsWith('\r\n', end) ? end + 2 : end + 1;
      const line = this.#line.join('');
      this.#line = [];
      const message = line === '' ? this.#dispatch() : this.#field(line);
      if (message !== undefined) messages.push(message);
    }
    this.#add(text.slice(start));
    return messages;
  }

  #add(piece: string): void {
    if (piece === '') return;
    this.#length += piece.length;
    if (this.#length > this.#maxLength) {
      throw new SseOverflow(`An event of the stream is longer than ${this.#maxLength} characters`);
    }
    this.#line.push(piece);
  }

  #field(line: string): undefined {
    const colon = line.indexOf(':');
    if (colon === 0) {
      this.#length -= line.length;
      return;
    }
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') this.#data.push(value);
    else if (name === 'event') this.#event = value;
    else if (name === 'id' && !value.includes('\0')) this.#id = value;
  }

  /** An event without data is none. */
  #dispatch(): SseMessage | undefined {
    const [event, data] = [this.#event, this.#data];
    this.#event = '';
    this.#data = [];
    this.#length = 0;
    if (data.length === 0) return undefined;
    return { id: this.#id, event: event === '' ? 'message' : event, data: data.join('\n') };
  }
}

/** Where lines end: at CRLF, LF or CR, each of them once. */
function* lineEnds(text: string, from: number): Generator<number, void, undefined> {
  for (const { index } of text.slice(from).matchAll(/\r\n|\n|\r/g)) yield from + index;
}
