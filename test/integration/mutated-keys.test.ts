import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ISSUER, issuerClaims, signer, testCallers } from '../support/callers.ts';

const CHARACTERS = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ %\0é'];
const HOW_MANY = 10_000;

/** What may happen to a text on its way, or be tried by who knows another one. */
const mutation = fc.oneof(
  fc.record({ kind: fc.constant('replace' as const), at: fc.nat(), by: fc.constantFrom(...CHARACTERS) }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), by: fc.constantFrom(...CHARACTERS) }),
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat(), by: fc.constant('') }),
  fc.record({ kind: fc.constant('swap' as const), at: fc.nat(), by: fc.constant('') }),
  fc.record({ kind: fc.constant('flip case' as const), at: fc.nat(), by: fc.constant('') }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat(), by: fc.constant('') }),
  fc.record({ kind: fc.constant('splice' as const), at: fc.nat(), by: fc.constant('') }),
);
type Mutation = typeof mutation extends fc.Arbitrary<infer M> ? M : never;

function mutated(text: string, other: string, { kind, at, by }: Mutation): string {
  const index = at % text.length;
  const [before, character, after] = [text.slice(0, index), text[index] ?? '', text.slice(index + 1)];
  switch (kind) {
    case 'replace':
      return before + by + after;
    case 'insert':
      return before + by + character + after;
    case 'remove':
      return before + after;
    case 'swap':
      return before + after.slice(0, 1) + character + after.slice(1);
    case 'flip case':
      return (
        before + (character === character.toUpperCase() ? character.toLowerCase() : character.toUpperCase()) + after
      );
    case 'cut':
      return before;
    case 'splice':
      return before + other.slice(index);
  }
}

test('of 10,000 keys and tokens that were changed in one to three places none opens anything', async () => {
  const rs = signer('RS256');
  const chosen = 'a-key-of-the-operators-own-choice-0123456789';
  const issuer = { ...ISSUER, jwks: undefined, publicKey: rs.pem };
  const { callers, make } = await testCallers({ issuer, apiKey: chosen });
  const [one, two] = [await make({}), await make({ tenant: 'acme' })];
  const principal = await callers.verify(one.key);
  if (principal === undefined) throw new Error('the key does not open');
  const { token } = await callers.issueToken(principal, one.key, { expiresInSeconds: 3_600 });
  const good = [one.key, two.key, chosen, token, rs.sign(issuerClaims())];
  for (const text of good) expect(await callers.verify(text)).toBeDefined();

  let tried = 0;
  const which = fc.nat(good.length - 1);
  await fc.assert(
    fc.asyncProperty(which, which, fc.array(mutation, { minLength: 1, maxLength: 3 }), async (of, from, changes) => {
      const text = changes.reduce(
        (changed, change) => mutated(changed || 'x', good[from] ?? '', change),
        good[of] ?? '',
      );
      if (good.includes(text)) return;
      tried += 1;
      expect([text, await callers.verify(text)]).toEqual([text, undefined]);
    }),
    { numRuns: HOW_MANY * 1.2 },
  );
  expect(tried).toBeGreaterThanOrEqual(HOW_MANY);
});
