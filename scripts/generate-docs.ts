import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { envExample } from '../src/config.ts';
import { openApi } from '../src/protocol/openapi.ts';
import { openRpc } from '../src/protocol/openrpc.ts';
import { TABLES } from './doc-tables.ts';

/**
 * Writes the generated parts of the documents: `.env.example`, the interface documents, and what stands between
 * `<!-- generated: NAME -->` and `<!-- end -->`. With `--check` nothing is written, and parts that are out of step end it
 * with exit code 1.
 */
const ROOT = join(import.meta.dirname, '..');
const Package = z.object({ version: z.string() });
const DOCUMENTS = ['docs/protocol.md', 'docs/events.md', 'docs/operations.md'];

/** The documents that have generated parts, by path, as they should be. */
export function generatedDocuments(): ReadonlyMap<string, string> {
  const documents = DOCUMENTS.map((path) => [path, withTables(readFileSync(join(ROOT, path), 'utf8'), path)] as const);
  const { version } = Package.parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')));
  return new Map([
    ['.env.example', envExample()],
    ['docs/api/openapi.json', json(openApi(version))],
    ['docs/api/openrpc.json', json(openRpc(version))],
    ...documents,
  ]);
}

/** The paths of those that are not as they should be. */
export function outOfStep(): string[] {
  return [...generatedDocuments()].flatMap(([path, wanted]) => (wanted === current(path) ? [] : [path]));
}

function json(document: object): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

function withTables(text: string, path: string): string {
  return text.replace(
    /(<!-- generated: (\w+) -->\n)[\s\S]*?(<!-- end -->)/g,
    (_whole, start: string, name: string, end: string) => {
      const table = TABLES[name];
      if (table === undefined) throw new Error(`${path}: there is no generated part named ${name}`);
      return `${start}${table()}\n${end}`;
    },
  );
}

function current(path: string): string | undefined {
  try {
    return readFileSync(join(ROOT, path), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

if (import.meta.main) {
  const stale = outOfStep();
  if (!process.argv.includes('--check')) {
    const wanted = generatedDocuments();
    for (const path of stale) writeFileSync(join(ROOT, path), wanted.get(path) ?? '');
    for (const path of stale) console.log(`wrote ${path}`);
  } else if (stale.length > 0) {
    console.error(`${stale.join(', ')}: not in step with the code. Repair it with: npm run fix`);
    process.exitCode = 1;
  }
}
