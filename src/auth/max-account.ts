import { ServiceError } from '../protocol/errors.ts';
import type { PayerStorage } from '../storage/payer-storage.ts';

const NAME = 'max_account';
const CONFIGURED = 'configured ';
const PINNED = 'pinned ';

export type MaxAccountState = 'none' | 'configured' | 'pinned';
type Values = Pick<PayerStorage, 'keepValue' | 'replaceValue' | 'getValue'>;

/**
 * The one Claude Max account of a service, as a fingerprint in the store: the one its operator has configured, or the
 * first that a caller has presented. Two tokens of the same account cannot be told from two accounts, so that the token
 * is what counts.
 */
export class MaxAccount {
  readonly #values: Values;

  constructor(values: Values) {
    this.#values = values;
  }

  /** @param fingerprint of the operator's own token; a login, whose token changes, has none */
  async configure(fingerprint: string | undefined): Promise<void> {
    await this.#values.replaceValue(NAME, `${CONFIGURED}${fingerprint ?? ''}`);
  }

  /** The operator's credential is no Max account any more. */
  async forgetConfigured(): Promise<void> {
    if ((await this.state()) === 'configured') await this.reset();
  }

  /**
   * Lets a caller's token pass that is the account's, and makes it the account's where there is none.
   * @returns whether it was made that now
   * @throws ServiceError `unauthenticated` with the reason, for any other
   */
  async admit(fingerprint: string): Promise<boolean> {
    const before = await this.#values.getValue(NAME);
    const kept = before ?? (await this.#values.keepValue(NAME, `${PINNED}${fingerprint}`));
    if (kept === `${PINNED}${fingerprint}`) return before === undefined;
    if (kept === `${CONFIGURED}${fingerprint}`) return false;
    const other = kept.startsWith(CONFIGURED) ? 'the account of its operator' : 'the first one that was presented';
    const message = `This service takes one Claude Max account, ${other}, and this is another token. Use an Anthropic API key, or ask the operator.`;
    throw new ServiceError('unauthenticated', message);
  }

  async state(): Promise<MaxAccountState> {
    const kept = await this.#values.getValue(NAME);
    if (kept === undefined) return 'none';
    return kept.startsWith(CONFIGURED) ? 'configured' : 'pinned';
  }

  /** Forgets it, so that the next token that is presented becomes the account's. */
  async reset(): Promise<void> {
    await this.#values.replaceValue(NAME, undefined);
  }
}
