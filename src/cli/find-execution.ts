import type { ExecutorClient, ListOptions } from '../client/executor-client.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';

const SHORTEST_PREFIX = 8;
const LOOK_BACK = 1000;

/**
 * An execution by its id, or by the start of it where that is unique among the newest ones. `last` is the newest.
 * @throws ServiceError `not_found`, `invalid_request`
 */
export async function findExecution(client: ExecutorClient, wanted: string): Promise<Execution> {
  if (wanted.length === 36) return client.get(wanted);
  const { executions } = await listUpTo(client, { limit: wanted === 'last' ? 1 : LOOK_BACK });
  if (wanted === 'last' && executions[0] !== undefined) return client.get(executions[0].id);
  if (wanted.length < SHORTEST_PREFIX && wanted !== 'last') {
    throw new ServiceError(
      'invalid_request',
      `${wanted} is too short; give at least ${SHORTEST_PREFIX} characters of the id`,
    );
  }
  const found = executions.filter(({ id }) => id.startsWith(wanted));
  const [only] = found;
  if (only === undefined) throw new ServiceError('not_found', `There is no execution ${wanted}; see cc-executor list`);
  if (found.length > 1)
    throw new ServiceError('invalid_request', `${wanted} is the start of ${found.length} ids; give more of it`);
  return client.get(only.id);
}

/** The newest executions, over as many pages as it takes: a page may hold fewer than were asked for. */
export async function listUpTo(
  client: ExecutorClient,
  options: ListOptions,
): Promise<{ executions: Execution[]; nextCursor: string | null }> {
  let page = await client.list(options);
  const executions = [...page.executions];
  while (executions.length < options.limit && page.nextCursor !== null) {
    page = await client.list({ ...options, limit: options.limit - executions.length, cursor: page.nextCursor });
    executions.push(...page.executions);
  }
  return { executions, nextCursor: page.nextCursor };
}
