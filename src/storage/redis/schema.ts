import { ServiceError } from '../../protocol/errors.ts';
import type { RedisCommands } from './connection.ts';
import { KEYS } from './keys.ts';
import { defineScript } from './script.ts';

/**
 * The version of the layout that `keys.ts` describes. The mark of a later one can say `2 readable from 1`: programs that
 * know layout 1 may use it too. Without that, it is readable from itself on (docs/adr/0011-records-of-other-versions.md).
 */
const SCHEMA_VERSION = 1;
const MARK = /^(\d{1,9})(?: readable from (\d{1,9}))?$/;

const CLAIM_SCHEMA = defineScript(
  'finish',
  `
need('string', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
`,
);

/**
 * Marks an empty database as a store of this version. The mark of any other stays as it is.
 * @throws ServiceError `storage_newer`; `storage_unavailable` where the mark is not ours
 */
export async function checkSchema(commands: RedisCommands, shown: string): Promise<void> {
  const mark = MARK.exec(String(await commands.evaluate(CLAIM_SCHEMA, [KEYS.schema], [SCHEMA_VERSION])));
  if (mark === null) {
    const message = `The key ${KEYS.schema} of Redis at ${shown} does not hold a version, so another program uses keys that begin with cce:. Remove that key, or choose another database number.`;
    throw new ServiceError('storage_unavailable', message);
  }
  const [, version, readableFrom = version] = mark;
  if (Number(readableFrom) > SCHEMA_VERSION) {
    const message = `The store in Redis at ${shown} has layout version ${version}, written by a newer cc-executor; this one knows up to version ${SCHEMA_VERSION}. Run the newer version again, or choose another database number. Nothing was changed.`;
    throw new ServiceError('storage_newer', message);
  }
}
