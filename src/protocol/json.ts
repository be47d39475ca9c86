import { ServiceError } from './errors.ts';

/** Deeper than any request of the contract, and far from the depth at which recursive code overflows its stack. */
const MAX_DEPTH = 64;
/** More than any request of the contract holds: two bytes become a value of 100, and its refusal one of 1000. */
const MAX_VALUES = 50_000;
const MAX_BRACKETS = 250_000;

/**
 * Parses JSON that comes from outside.
 * @throws SyntaxError where it is not JSON (RFC 8259)
 * @throws ServiceError `invalid_request` for what is JSON and would mean different things to different readers or
 * programs: nesting beyond 64, a key given twice in one object, the key `__proto__`; and, whether it is JSON or not,
 * for more than 50,000 values
 */
export function parseJson(text: string): unknown {
  refuseExcess(text);
  const value: unknown = JSON.parse(text);
  refuseAmbiguity(text);
  return value;
}

/** JSON of a foreign program, read leniently; `undefined` where it is none. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Comes before parsing, and so takes any text: what is parsed first has taken the memory already. */
function refuseExcess(text: string): void {
  if (text.length < MAX_VALUES) return;
  let [values, brackets] = [1, 0];
  for (let at = 0; at < text.length; at += 1) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at) - 1;
        break;
      case '{':
      case '[':
        brackets += 1;
        break;
      case ',':
        values += 1;
    }
    if (values > MAX_VALUES || brackets > MAX_BRACKETS) {
      throw refused(`The JSON holds more than ${MAX_VALUES} values`);
    }
  }
}

/** Walks over a text that is known to be JSON; iterative, so that no depth can overflow the stack. */
function refuseAmbiguity(text: string): void {
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    switch (text[at]) {
      case '"': {
        const end = endOfString(text, at);
        const keys = open.at(-1);
        if (keys !== undefined && isKey(text, end)) addKey(keys, text.slice(at, end));
        at = end - 1;
        break;
      }
      case '{':
      case '[':
        if (open.length === MAX_DEPTH) throw refused(`The JSON is nested deeper than ${MAX_DEPTH} levels`);
        open.push(text[at] === '{' ? new Set() : undefined);
        break;
      case '}':
      case ']':
        open.pop();
    }
  }
}

/** The index behind the closing quote of the string that opens at `start`; the end of the text where there is none. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === '\\') backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return text.length;
}

function isKey(text: string, end: number): boolean {
  let at = end;
  while (/[ \t\n\r]/.test(text[at] ?? '')) at += 1;
  return text[at] === ':';
}

function addKey(keys: Set<string>, quoted: string): void {
  const key: string = JSON.parse(quoted);
  if (key === '__proto__') throw refused('The JSON holds the key __proto__, which is not taken');
  if (keys.has(key)) throw refused(`The JSON gives the key ${key.slice(0, 100)} twice in one object`);
  keys.add(key);
}

function refused(message: string): ServiceError {
  return new ServiceError('invalid_request', message, { data: { errors: [{ path: '', message }] } });
}
