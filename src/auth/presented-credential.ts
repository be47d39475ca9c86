const FORM = /^sk-ant-(oat|api)\d{2}-[A-Za-z0-9_-]{8,500}$/;

/**
 * A caller's own Claude credential: a Claude Max token (`sk-ant-oat…`, from `claude setup-token`) or an API key
 * (`sk-ant-api…`). Only `reveal` gives the secret away: it is in no property, no JSON and no inspection.
 */
export class PresentedCredential {
  readonly kind: 'api_key' | 'max';
  readonly #secret: string;

  private constructor(kind: 'api_key' | 'max', secret: string) {
    this.kind = kind;
    this.#secret = secret;
  }

  /** `undefined` for what is no such credential. */
  static parse(presented: string): PresentedCredential | undefined {
    const form = FORM.exec(presented);
    return form === null ? undefined : new PresentedCredential(form[1] === 'oat' ? 'max' : 'api_key', presented);
  }

  reveal(): string {
    return this.#secret;
  }
}
