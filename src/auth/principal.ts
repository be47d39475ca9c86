/** Who is calling, once a key has said so. */
export interface Principal {
  tenant: string;
  /** Which key it was, as logs may name it. */
  keyId: string;
}
