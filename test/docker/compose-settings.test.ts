import { expect, it } from 'vitest';
import { SETTINGS } from '../../src/settings.ts';
import { textOf } from '../support/source-files.ts';

/** What the image decides, and what only the command line or root has a use for. */
const NOT_PASSED = ['CC_HOST', 'CC_PORT', 'CC_DATA_DIR', 'CC_URL', 'CLAUDE_BIN', 'CC_RUN_UID'];

it('passes every setting on to the service, so that none in .env is without effect', () => {
  const passed = [...textOf('docker-compose.yml').matchAll(/^ {6}- ([A-Z][A-Z_]+)(?:=.*)?$/gm)].map(([, name]) => name);
  const settings = Object.keys(SETTINGS).filter((name) => !NOT_PASSED.includes(name));
  expect(settings.filter((name) => !passed.includes(name))).toEqual([]);
});
