import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The project's own folder. */
export const ROOT: string = join(import.meta.dirname, '../..');

/** The text of a file of the project. */
export function textOf(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** The paths that match, relative to the project, sorted. */
export function filesMatching(pattern: string): string[] {
  return globSync(pattern, { cwd: ROOT }).sort();
}

/** What a TypeScript file imports and re-exports, as written, also in `import()`. */
export function importsOf(path: string): string[] {
  const found = textOf(path).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^'\s]+)'/g);
  return [...found].map(([, specifier = '']) => specifier);
}
