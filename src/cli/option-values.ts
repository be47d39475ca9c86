import { InvalidArgumentError } from 'commander';

const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `5m`, `1h30m`, `500ms` in milliseconds. */
export function durationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new InvalidArgumentError('Write a duration such as 90s, 5m or 1h30m.');
  }
  return Math.round(parts.reduce((total, [, count, unit]) => total + Number(count) * (UNITS[unit ?? ''] ?? 0), 0));
}

/** How many rows to print. */
export function rowLimit(text: string): number {
  const limit = wholeNumber(text);
  if (limit < 1 || limit > 1000) throw new InvalidArgumentError('Write a number from 1 to 1000.');
  return limit;
}

export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Write a whole number.');
  return Number(text);
}

export function portNumber(text: string): number {
  const port = wholeNumber(text);
  if (port > 65_535) throw new InvalidArgumentError('Write a port from 0 to 65535.');
  return port;
}

export function amount(text: string): number {
  if (!/^\d+(\.\d+)?$/.test(text)) throw new InvalidArgumentError('Write a number such as 2.5.');
  return Number(text);
}

/** Tool rules, separated by commas outside parentheses; the option may be repeated. */
export function rules(text: string, before: string[] = []): string[] {
  const parts: string[] = [];
  let [part, depth] = ['', 0];
  for (const character of text) {
    if (character === ',' && depth === 0) {
      parts.push(part);
      part = '';
      continue;
    }
    if (character === '(') depth += 1;
    if (character === ')') depth -= 1;
    part += character;
  }
  parts.push(part);
  return [...before, ...parts.map((rule) => rule.trim()).filter((rule) => rule !== '')];
}

/** NAME=VALUE; the option may be repeated. */
export function pair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Write NAME=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
