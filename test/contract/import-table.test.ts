import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { filesMatching, importsOf, textOf } from '../support/source-files.ts';

interface Allowed {
  places: ReadonlySet<string>;
  packages: ReadonlySet<string>;
}

/** The table in ARCHITECTURE.md: a place is a folder of src or a file that lies in src itself. */
function readTable(): Map<string, Allowed> {
  const [, block = ''] = textOf('ARCHITECTURE.md').split(/<!-- (?:end of )?import table -->\n/);
  const rows = block.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    rows.map((row) => {
      const [place = '', places = '', packages = ''] = row
        .split('|')
        .slice(1)
        .map(namesIn)
        .map((names) => names.join(' '));
      return [place, { places: new Set(places.split(' ')), packages: new Set(packages.split(' ')) }];
    }),
  );
}

function namesIn(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
}

/** `src/a/b.ts` → `a`; `src/service.ts` → `service.ts`. */
function placeOf(path: string): string {
  return path.split('/')[1] ?? '';
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

function violation(file: string, specifier: string, allowed: Allowed): string | undefined {
  if (isBuiltin(specifier)) return undefined;
  if (!specifier.startsWith('.')) {
    return allowed.packages.has(packageOf(specifier)) ? undefined : `${file} imports the package ${specifier}`;
  }
  const target = placeOf(join(file, '..', specifier));
  return target === placeOf(file) || allowed.places.has(target) ? undefined : `${file} imports ${specifier}`;
}

const table = readTable();
const files = filesMatching('src/**/*.ts');

test('every folder of src has a row in the table of ARCHITECTURE.md', () => {
  const places = [...new Set(files.map(placeOf))];
  expect(places.length).toBeGreaterThan(5);
  expect(places.filter((place) => !table.has(place))).toEqual([]);
});

test('every import in src is one that the table allows', () => {
  const violations = files.flatMap((file) => {
    const allowed = table.get(placeOf(file));
    return importsOf(file).map((specifier) => allowed && violation(file, specifier, allowed));
  });
  expect(violations.filter((text) => text !== undefined)).toEqual([]);
});

test('only bin and server import the composition root and the configuration, which the composition root itself may read', () => {
  const importers = (target: string): string[] =>
    [...table].filter(([, { places }]) => places.has(target)).map(([place]) => place);
  expect(importers('service.ts').sort()).toEqual(['bin', 'server']);
  expect(importers('config.ts').sort()).toEqual(['bin', 'dispatch.ts', 'paying.ts', 'server', 'service.ts']);
});

test('an import that the table does not allow is found', () => {
  const allowed = { places: new Set(['protocol']), packages: new Set(['zod']) };
  expect(violation('src/claude/lines.ts', '../storage/storage.ts', allowed)).toBeDefined();
  expect(violation('src/claude/lines.ts', 'undici', allowed)).toBeDefined();
  expect(violation('src/claude/lines.ts', '../protocol/ids.ts', allowed)).toBeUndefined();
});

test('only config.ts reads the environment', () => {
  const readers = files.filter((file) => /\bprocess\s*(\.\s*env|\[\s*'env'\s*\])\b/.test(textOf(file)));
  expect(readers).toEqual(['src/config.ts']);
});

test('relative imports name the file with its ending', () => {
  const bare = files.flatMap((file) =>
    importsOf(file).flatMap((specifier) =>
      specifier.startsWith('.') && !specifier.endsWith('.ts') ? [`${file}: ${specifier}`] : [],
    ),
  );
  expect(bare).toEqual([]);
});
