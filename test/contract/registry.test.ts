import { expect, test } from 'vitest';
import { HTTP_ROUTES } from '../../src/protocol/http-routes.ts';
import { RPC_METHODS } from '../../src/protocol/rpc-methods.ts';
import { textOf } from '../support/source-files.ts';

/** A record that `satisfies` these does not compile without an entry for each name; the entries are the tests. */
test.each([
  ['route', 'test/e2e/http-routes.test.ts', 'RouteName', Object.keys(HTTP_ROUTES)],
  ['method', 'test/e2e/websocket.test.ts', 'MethodName', Object.keys(RPC_METHODS)],
] as const)('every %s has a test against the built program, in %s', (_kind, path, type, names) => {
  const text = textOf(path);
  const table = new RegExp(`^const (\\w+) = \\{\\n([\\s\\S]*?)^\\} satisfies Record<${type}, [^;]*>;$`, 'm').exec(text);
  const [, name = 'no table', entries = ''] = table ?? [];
  const tested = [...entries.matchAll(/^ {2}(?:async )?'?([\w.]+)'?(?::|\()/gm)].map(([, key]) => key);
  expect([...tested].sort()).toEqual([...names].sort());
  expect(text).toMatch(new RegExp(`Object\\.(entries|keys)\\(${name}\\)`));
});
