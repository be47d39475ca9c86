import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config.ts';
import { redactor } from '../../src/observability/redact.ts';
import { recordedLog } from '../support/recorded-log.ts';

const CANARIES = {
  apiKey: 'sk-ant-api03-Canary_AAAA-1111',
  maxToken: 'sk-ant-oat01-Canary_BBBB-2222',
  serviceKey: 'cck_0123456789abcdef_CanaryCCCC333344445555666677778888',
  runToken: 'ccr_CanaryDDDD44445555666677778888',
  jwt: 'eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJFRUVFIn0.Q2FuYXJ5RkZGRg',
  bearer: 'Bearer CanaryGGGG7777==',
  redisUrl: 'redis://user:CanaryHHHH8888@127.0.0.1:6379/0',
  chosen: 'a "chosen" key of CanaryIIII9999',
};
const NEEDLES = ['Canary', 'Q2FuYXJ5', 'eyJjYW5hcnki'];

test.each(Object.entries(CANARIES))(
  '%s is found at any depth, in messages, in errors and in their causes',
  (_, canary) => {
    const { logger, text } = recordedLog([CANARIES.chosen]);
    const cause = new Error(`cause ${canary}`);
    logger.info({ a: { b: { c: [{ deep: canary, [canary]: 1 }] } } }, `message ${canary} end`);
    logger.error(
      { err: new Error(`outer ${canary}`, { cause }), other: new AggregateError([cause], canary) },
      'failed',
    );
    logger.child({ bound: canary }).trace('child');
    for (const needle of NEEDLES) expect(text()).not.toContain(needle);
    expect(
      text()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line).level),
    ).toEqual([30, 50, 10]);
    expect(text()).toContain('end');
  },
);

test('what only looks a little like a secret stays as it is', () => {
  const plain = 'sk-ant is a prefix, bearer of news, http://127.0.0.1:8000/v1, e1.short, the key cck_, a@b, eyJ';
  expect(redactor(['abc'])(plain)).toBe(plain);
});

test('every secret among the settings is known by its value, and of a URL its password alone', () => {
  const { secrets } = loadConfig({
    HOME: '/nowhere',
    CC_API_KEY: 'k'.repeat(40),
    ANTHROPIC_API_KEY: 'an-unusual-key',
    CC_ENVELOPE_KEY: 'e'.repeat(32),
    REDIS_URL: 'redis://user:p%40ss-word@127.0.0.1:6379',
  });
  expect([...secrets].sort()).toEqual(['an-unusual-key', 'e'.repeat(32), 'k'.repeat(40), 'p%40ss-word', 'p@ss-word']);
});
