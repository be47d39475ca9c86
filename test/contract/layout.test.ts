import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { has } from '../support/capabilities.ts';
import { filesMatching, ROOT, textOf } from '../support/source-files.ts';

const Versions = z.record(z.string(), z.string());
const Package = z.looseObject({ dependencies: Versions, devDependencies: Versions });

const own = filesMatching('{src,test,scripts,benchmarks,examples}/**/*.{ts,mjs,pl}').filter(
  (path) => !path.includes('node_modules'),
);

test.each([
  ...[
    'README.md',
    'ARCHITECTURE.md',
    'CONTRIBUTING.md',
    'REVIEW.md',
    'CHANGELOG.md',
    'LICENSE',
    '.env.example',
    '.ci/run',
  ],
  ...[
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'biome.json',
    'knip.json',
    'vitest.config.ts',
  ],
  ...['docs/protocol.md', 'docs/events.md', 'docs/operations.md', 'docs/security.md'],
])('%s is where a newcomer looks for it', (path) => {
  expect(filesMatching(path)).toEqual([path]);
});

test('no file or folder is a dumping ground', () => {
  const forbidden = /(^|\/)(utils?|helpers?|common|shared|misc|base|types|constants|index|lib)(\.ts|\/)/;
  expect(own.filter((path) => forbidden.test(path))).toEqual([]);
});

test('files are named in kebab case', () => {
  expect(own.filter((path) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|config))?\.(ts|mjs|pl)$/.test(basename(path)))).toEqual(
    [],
  );
});

test('every package is pinned to an exact version', () => {
  const { dependencies, devDependencies } = Package.parse(JSON.parse(textOf('package.json')));
  const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
  );
  expect(loose).toEqual([]);
});

test('the lockfile names no host to download from, so that it works with any registry', () => {
  expect(textOf('package-lock.json')).not.toContain('"resolved"');
});

test('tests are skipped for a named capability only', () => {
  const pattern = /\.(skip|skipIf|runIf|todo|only|fails)\b(?!\(!?has\('\w+'\)\))/g;
  const skipping = filesMatching('test/**/*.ts').flatMap((file) =>
    file.endsWith('.test.ts') && !file.endsWith('layout.test.ts')
      ? [...textOf(file).matchAll(pattern)].map(([found]) => `${file}: ${found}`)
      : [],
  );
  expect(skipping).toEqual([]);
});

test('no test replaces a part of ours by a mock', () => {
  const mocking = filesMatching('test/**/*.ts').filter(
    (file) => !file.endsWith('layout.test.ts') && /\bvi\.(mock|fn|spyOn)\b/.test(textOf(file)),
  );
  expect(mocking).toEqual([]);
});

test('documents and code name no machine and no private registry', () => {
  const documents = [
    ...filesMatching('*.md'),
    ...filesMatching('docs/**/*.md'),
    ...filesMatching('{src,scripts}/**/*.ts'),
  ];
  const machinePath = /(?<![\w.])\/(home|Users|root|work|mnt)\/\w/;
  expect(documents.filter((path) => machinePath.test(textOf(path)))).toEqual([]);
});

test.runIf(has('perl'))('the launcher needs nothing beyond perl-base', () => {
  const path = 'src/isolation/launcher.pl';
  const modules = [...textOf(path).matchAll(/^\s*(?:use|require)\s+([A-Z][\w:]*|strict|warnings|constant)/gm)].map(
    ([, name]) => name,
  );
  const perlBase = ['Errno', 'POSIX', 'constant', 'strict', 'warnings', 'Config', 'Fcntl', 'Socket'];
  expect(modules.filter((name) => !perlBase.includes(name ?? ''))).toEqual([]);
  const checked = spawnSync('perl', ['-wc', path], { cwd: ROOT, encoding: 'utf8' });
  expect(checked.stderr.trim()).toBe(`${path} syntax OK`);
});
