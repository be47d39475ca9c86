import { expect, test } from 'vitest';
import { outOfStep } from '../../scripts/generate-docs.ts';
import { filesMatching, textOf } from '../support/source-files.ts';

const documents = [...filesMatching('*.md'), ...filesMatching('docs/**/*.md'), ...filesMatching('examples/*.md')];

test('the generated parts of the documents are in step with the code; `npm run fix` repairs them', () => {
  expect(outOfStep()).toEqual([]);
});

test.each(['P1', 'P2', 'P3', 'P4', 'P5', 'P6', 'P7', 'P8', 'P9', 'P10', 'P11', 'P12'])(
  'promise %s has its heading and at least one test file',
  (promise) => {
    expect(textOf('docs/operations.md')).toMatch(new RegExp(`^#+ ${promise} `, 'm'));
    const proofs = filesMatching('test/{unit,integration,e2e}/**/*.test.ts').filter((file) =>
      new RegExp(`^// promise: .*\\b${promise}\\b`, 'm').test(textOf(file)),
    );
    expect(proofs).not.toEqual([]);
  },
);

test('every link between documents leads to a file, and every file they name in code exists', () => {
  const broken = documents.flatMap((document) => {
    const text = textOf(document);
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map(([, to = '']) =>
      new URL(to, `file:///${document}`).pathname.slice(1),
    );
    const named = [...text.matchAll(/`((?:src|test|scripts|docs)\/[\w./-]+\.\w+)`/g)].map(([, path = '']) => path);
    return [...links, ...named]
      .filter((path) => filesMatching(path).length === 0)
      .map((path) => `${document}: ${path}`);
  });
  expect(broken).toEqual([]);
});
