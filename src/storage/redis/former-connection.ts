import { randomBytes } from 'node:crypto';
import type { RedisCommands } from './connection.ts';
import { refusalOf } from './translate-error.ts';

/**
 * Sees to it that commands of a lost connection, which may still be on their way, are not done after those of the new
 * one.
 */
export class FormerConnection {
  /** Names the connections of this process, so that the number of a restarted server's client is not taken for ours. */
  readonly name = `cc-executor-${randomBytes(8).toString('hex')}`;
  #clientId: string | undefined;

  /** Ends the former connection, if the server still has it, and notes the new one. */
  async end({ call }: RedisCommands): Promise<void> {
    try {
      const current = String(await call('CLIENT', ['ID']));
      const former = this.#clientId;
      this.#clientId = current;
      if (former === undefined || former === current) return;
      const listed = String(await call('CLIENT', ['LIST', 'ID', former]));
      if (listed.includes(` name=${this.name} `)) await call('CLIENT', ['KILL', 'ID', former]);
    } catch (error) {
      // A user who may not do this goes on without.
      if (refusalOf(error) !== 'NOPERM') throw error;
    }
  }
}
