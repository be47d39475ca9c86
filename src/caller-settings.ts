import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { keyInPem } from './auth/issuer-keys.ts';
import { isLoopbackHost } from './loopback.ts';

const LEAST_SECRET_BYTES = 32;

const jwtSecret = z.string().refine((secret) => Buffer.byteLength(secret) >= LEAST_SECRET_BYTES, {
  error: `is shorter than ${LEAST_SECRET_BYTES} bytes; make one with: openssl rand -base64 48`,
});

/** In an environment file a PEM stands in one line, its ends of line as \n. */
const publicKey = z
  .string()
  .transform((text) => text.replaceAll('\\n', '\n'))
  .superRefine((pem, context) => {
    try {
      keyInPem(pem);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      context.addIssue({ code: 'custom', message: `is no public key in PEM that is taken: ${why}` });
    }
  });

const jwks = z.string().refine(isKeySetSource, {
  error: 'is neither an https URL without a password, nor an http URL on loopback, nor the absolute path of a file',
});

function isKeySetSource(source: string): boolean {
  if (!URL.canParse(source)) return isAbsolute(source);
  const { protocol, hostname, username, password } = new URL(source);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopbackHost(hostname));
}

/** The settings about who may call; a part of `SETTINGS`. */
export const CALLER_SETTINGS = {
  CC_AUTH: {
    schema: z.enum(['on', 'off']).default('on'),
    example: 'on',
    help: 'off asks no caller for a key; only on loopback, and without a proxy in front.',
  },
  CC_JWT_SECRET: {
    schema: jwtSecret.optional(),
    example: '',
    help: 'Signs the tokens of POST /v1/auth/token, 32 bytes or more. Unset: one is made once and kept in the store.',
  },
  CC_JWT_SECRET_FILE: {
    schema: z.string().optional(),
    example: '',
    help: 'A file with the value of CC_JWT_SECRET, in its place.',
  },
  CC_JWT_ISSUER: {
    schema: z.string().min(1).max(1024).optional(),
    example: '',
    help: 'The iss of tokens from an issuer of your own. With CC_JWT_AUDIENCE, and CC_JWT_JWKS or CC_JWT_PUBLIC_KEY.',
  },
  CC_JWT_AUDIENCE: {
    schema: z.string().min(1).max(1024).optional(),
    example: '',
    help: 'The aud that names this service in the tokens of CC_JWT_ISSUER.',
  },
  CC_JWT_JWKS: {
    schema: jwks.optional(),
    example: '',
    help: 'Where the public keys of CC_JWT_ISSUER are: an https URL, or a file.',
  },
  CC_JWT_PUBLIC_KEY: {
    schema: publicKey.optional(),
    example: '',
    help: 'The public key of CC_JWT_ISSUER in PEM, in place of CC_JWT_JWKS.',
  },
  CC_JWT_PUBLIC_KEY_FILE: {
    schema: z.string().optional(),
    example: '',
    help: 'A file with the value of CC_JWT_PUBLIC_KEY, in its place.',
  },
};
