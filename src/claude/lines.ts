const LF = 10;
const CR = 13;
const SPACE = 32;
const FIRST_CAPACITY = 4 * 1024;
/** A buffer that one huge line has grown is let go of afterwards. */
const KEPT_CAPACITY = 1024 * 1024;

export const DEFAULT_MAX_LINE_BYTES: number = 32 * 1024 * 1024;

/** Cuts a byte stream into lines. Memory is bounded by twice `maxBytes`; time is linear in the bytes. */
export interface LineSplitter {
  /** The lines that this chunk completes, without line ends and without blank lines. */
  push(chunk: Buffer): string[];
  /** The last line when it has no line end. */
  end(): string[];
  /**
   * Set once a line is longer than `maxBytes` (its line end not counted). The lines before it are delivered; it and
   * everything after it are dropped.
   */
  readonly lineTooLong: boolean;
}

/** Lines end in LF or CR LF. Bytes that are not UTF-8 become U+FFFD; a byte order mark is kept. */
export function splitLines(maxBytes: number = DEFAULT_MAX_LINE_BYTES): LineSplitter {
  let pending = Buffer.alloc(0);
  let length = 0;
  let lineTooLong = false;

  const keep = (rest: Buffer): void => {
    if (length + rest.length > maxBytes) {
      lineTooLong = true;
      length = 0;
      pending = Buffer.alloc(0);
      return;
    }
    if (length + rest.length > pending.length) {
      // Doubling keeps the copying linear, however small the chunks are.
      const grown = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, 2 * pending.length, length + rest.length));
      pending.copy(grown, 0, 0, length);
      pending = grown;
    }
    rest.copy(pending, length);
    length += rest.length;
  };

  const take = (): string => {
    const line = pending.toString('utf8', 0, length);
    length = 0;
    if (pending.length > KEPT_CAPACITY) {
      pending = Buffer.alloc(0);
    }
    return line;
  };

  return {
    push(chunk) {
      const lines: string[] = [];
      let start = 0;
      for (let end = chunk.indexOf(LF); end !== -1 && !lineTooLong; end = chunk.indexOf(LF, start)) {
        if (length > 0 || end - start > maxBytes) {
          keep(chunk.subarray(start, end));
          addLine(lines, lineTooLong ? '' : take());
        } else {
          addLine(lines, chunk.toString('utf8', start, end));
        }
        start = end + 1;
      }
      if (start < chunk.length && !lineTooLong) {
        keep(chunk.subarray(start));
      }
      return lines;
    },
    end() {
      const lines: string[] = [];
      addLine(lines, take());
      return lines;
    },
    get lineTooLong() {
      return lineTooLong;
    },
  };
}

function addLine(lines: string[], text: string): void {
  const line = text.charCodeAt(text.length - 1) === CR ? text.slice(0, -1) : text;
  if (line.length > 0 && (line.charCodeAt(0) > SPACE || line.trim() !== '')) {
    lines.push(line);
  }
}
