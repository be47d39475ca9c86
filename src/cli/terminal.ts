/** Where a command reads and writes. */
export interface Terminal {
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  /** Colours are wanted: a terminal, and NO_COLOR is not set. */
  colour: boolean;
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

export type Style = keyof typeof CODES;

export function styled(terminal: Terminal, style: Style, text: string): string {
  return terminal.colour ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text;
}

/**
 * Text of a model or a tool, safe to show on a terminal: control characters other than newline and tab could move the
 * cursor, rewrite what was shown or change the window's title.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to take out
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\ufffd');
}

/** As a terminal may show it; what goes to a file or a pipe stays as it is. */
export function forStream(stream: NodeJS.WriteStream, text: string): string {
  return stream.isTTY ? printable(text) : text;
}

/** `1h 02m`, `3m 07s`, `12.3s`. */
export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)}s`;
  const minutes = Math.floor(ms / 60_000);
  const two = (value: number): string => String(value).padStart(2, '0');
  return minutes < 60
    ? `${minutes}m ${two(Math.floor(ms / 1000) % 60)}s`
    : `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  return count < 1_000_000 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1_000_000).toFixed(1)} MB`;
}

export function dollars(usd: number): string {
  return usd >= 1 ? `$${usd.toFixed(2)}` : `$${usd.toFixed(4)}`;
}

/** Drawn two columns wide by terminals: East Asian wide forms and pictographs. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const ZERO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;

function columnsOf(character: string): number {
  if (ZERO_WIDTH.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** The first line of a text, cut to `width` columns. */
export function firstLine(text: string, width: number): string {
  // What cannot be seen anyway is not measured.
  const start = text.trimStart().slice(0, 4 * Math.max(width, 1) + 1000);
  const line = printable(start.split('\n', 1)[0] ?? '').replaceAll('\t', ' ');
  let [columns, cut] = [0, ''];
  for (const character of line) {
    columns += columnsOf(character);
    if (columns <= width - 1) cut += character;
    if (columns > width) return `${cut}…`;
  }
  return line;
}
