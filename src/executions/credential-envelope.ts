import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const FORM = /^e1\.([A-Za-z0-9_-]+)$/;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Why a caller's credential can be neither sealed nor opened here. */
export const NO_ENVELOPE_KEY =
  'This service has no key for envelopes, so that no credential of a caller can wait in it. Its operator sets CC_ENVELOPE_KEY, the same on every node.';

/** What an envelope belongs to; it opens for nothing else. */
export interface EnvelopeOwner {
  executionId: string;
  tenant: string;
}

/**
 * Encrypts callers' credentials for the time between acceptance and run: AES-256-GCM with a random nonce, bound to the
 * execution and its tenant. The key never enters the store.
 */
export class CredentialEnvelopes {
  readonly #key: Buffer;

  /** @param secret 32 bytes or more that are hard to guess; the cipher's key is derived from it */
  constructor(secret: string) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, '', 'cc-executor credential envelope', 32));
  }

  /** @returns `e1.` and base64url of nonce, tag and ciphertext */
  seal(credential: string, owner: EnvelopeOwner): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(boundTo(owner));
    const sealed = Buffer.concat([cipher.update(credential, 'utf8'), cipher.final()]);
    return `e1.${Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')}`;
  }

  /** `undefined` for one that was sealed with another key or for another execution, or was changed. */
  open(envelope: string, owner: EnvelopeOwner): string | undefined {
    const bytes = Buffer.from(FORM.exec(envelope)?.[1] ?? '', 'base64url');
    if (bytes.length <= NONCE_BYTES + TAG_BYTES) return undefined;
    const tag = bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES);
    const options = { authTagLength: TAG_BYTES };
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES), options)
      .setAAD(boundTo(owner))
      .setAuthTag(tag);
    const opened = decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES));
    try {
      return Buffer.concat([opened, decipher.final()]).toString('utf8');
    } catch (error) {
      // The one thing that `final` throws for here: the tag does not fit.
      if (error instanceof Error && /authenticate/.test(error.message)) return undefined;
      throw error;
    }
  }
}

function boundTo({ executionId, tenant }: EnvelopeOwner): Buffer {
  return Buffer.from(`${executionId}\n${tenant}`);
}
