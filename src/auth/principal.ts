import type { PresentedCredential } from './presented-credential.ts';

/** Who is calling, once a key has said so. */
export interface Principal {
  tenant: string;
  /** Which key it was, as logs may name it. */
  keyId: string;
  /** The key was a Claude credential of the caller's own, which pays for their runs. */
  credential?: PresentedCredential;
}
