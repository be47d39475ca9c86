const GONE = '[redacted]';
/** A shorter value would be found in what is no secret. */
const LEAST_LENGTH = 8;

/** Every shape of secret that this service deals with, and what stays of it. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/sk-ant-[\w-]{6,}/g, GONE],
  // Service keys, run tokens.
  [/\bcc[kr]_[\w-]{8,}/g, GONE],
  // JSON Web Tokens.
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, GONE],
  // Envelopes, although they are encrypted.
  [/\be1\.[\w-]{40,}/g, GONE],
  [/\b(bearer|basic) +[\w.~+/=-]{8,}/gi, `$1 ${GONE}`],
  // Passwords in URLs, such as those of Redis and of proxies.
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s"'/@:]*:)[^\s"'/@]+@/gi, `$1${GONE}@`],
];

/** Makes what takes secrets out of a text: those of a known shape, and these values wherever they stand. */
export function redactor(values: readonly string[] = []): (text: string) => string {
  const literals = values
    .filter((value) => value.length >= LEAST_LENGTH)
    .flatMap((value) => [value, JSON.stringify(value).slice(1, -1)]);
  // The longest first: a value may be part of another.
  const listed = [...new Set(literals)].sort((left, right) => right.length - left.length);
  return (text) => {
    const without = listed.reduce((rest, value) => rest.replaceAll(value, GONE), text);
    return SHAPES.reduce((rest, [shape, left]) => rest.replace(shape, left), without);
  };
}
