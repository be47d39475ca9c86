import { expect, it } from 'vitest';
import { SETTINGS } from '../../src/settings.ts';
import { textOf } from '../support/source-files.ts';

/** What the image decides, and what only the command line or root has a use for. */
const NOT_PASSED = ['CC_HOST', 'CC_PORT', 'CC_DATA_DIR', 'CC_URL', 'CLAUDE_BIN', 'CC_RUN_UID'];
/** What has no use where there is no Redis. */
const SHARED = ['REDIS_URL', 'REDIS_URL_FILE', 'CC_ROLE', 'CC_REDIS_PERSISTENCE', 'CC_SPOOL_BYTES'];

const settings = Object.keys(SETTINGS).filter((name) => !NOT_PASSED.includes(name));

function passedIn(file: string, line: RegExp): (string | undefined)[] {
  return [...textOf(file).matchAll(line)].map(([, name]) => name);
}

it('passes every setting on to the services, so that none in .env is without effect', () => {
  const passed = passedIn('docker-compose.yml', /^ +([A-Z][A-Z_]+):(?: .*)?$/gm);
  expect(settings.filter((name) => !passed.includes(name))).toEqual([]);
});

it('passes every setting on to the one service that needs no Redis', () => {
  const passed = passedIn('deployment/compose.single.yml', /^ {6}- ([A-Z][A-Z_]+)(?:=.*)?$/gm);
  expect(settings.filter((name) => !SHARED.includes(name) && !passed.includes(name))).toEqual([]);
});
