import { expect, test } from 'vitest';
import { CredentialEnvelopes } from '../../src/executions/credential-envelope.ts';

const SECRET = 'sk-ant-oat01-AAAABBBBCCCC';
const OWNER = { executionId: 'e1', tenant: 'claude-a' };
const envelopes = new CredentialEnvelopes('k'.repeat(32));

test('an envelope opens for its execution and tenant, on every node with the same key', () => {
  const sealed = envelopes.seal(SECRET, OWNER);
  expect(envelopes.open(sealed, OWNER)).toBe(SECRET);
  expect(new CredentialEnvelopes('k'.repeat(32)).open(sealed, OWNER)).toBe(SECRET);
});

test('it opens with no other key, for no other execution and for no other tenant', () => {
  const sealed = envelopes.seal(SECRET, OWNER);
  expect(new CredentialEnvelopes('l'.repeat(32)).open(sealed, OWNER)).toBeUndefined();
  expect(envelopes.open(sealed, { ...OWNER, executionId: 'e2' })).toBeUndefined();
  expect(envelopes.open(sealed, { ...OWNER, tenant: 'claude-b' })).toBeUndefined();
});

test('the same credential never seals to the same text twice, and the text holds nothing of it', () => {
  const texts = Array.from({ length: 100 }, () => envelopes.seal(SECRET, OWNER));
  expect(new Set(texts).size).toBe(100);
  for (const text of texts) expect(Buffer.from(text.slice(3), 'base64url').includes('sk-ant')).toBe(false);
});

test('a change of any bit, and whatever is no envelope, opens nothing', () => {
  const sealed = envelopes.seal(SECRET, OWNER);
  const bytes = Buffer.from(sealed.slice(3), 'base64url');
  for (let at = 0; at < bytes.length * 8; at += 1) {
    const changed = Buffer.from(bytes);
    changed.writeUInt8(changed.readUInt8(at >> 3) ^ (1 << (at & 7)), at >> 3);
    expect(envelopes.open(`e1.${changed.toString('base64url')}`, OWNER)).toBeUndefined();
  }
  for (const text of ['', 'e1.', 'e1.AAAA', SECRET, sealed.slice(0, 40), sealed.replace('e1.', 'e2.')]) {
    expect(envelopes.open(text, OWNER)).toBeUndefined();
  }
});
