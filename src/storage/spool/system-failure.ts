import { errnoOf } from '../sqlite/translate-error.ts';

/** The system's error that something on the disk ended with, `undefined` if it did not; other errors are thrown. */
export async function systemFailure(done: Promise<void>): Promise<unknown> {
  try {
    await done;
    return undefined;
  } catch (error) {
    if (!/^E[A-Z0-9]+$/.test(errnoOf(error) ?? '')) throw error;
    return error;
  }
}
