import { ServiceError } from '../../protocol/errors.ts';

const RETRY_AFTER_MS = 2_000;

/** What a server's refusal means, by the first word of its error: https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors */
const REFUSALS: Readonly<Record<string, string>> = {
  OOM: 'its memory is full (maxmemory). Raise maxmemory, or keep less: shorten the retention',
  READONLY: 'it is a read-only replica. Give the address of the primary',
  MISCONF: 'it cannot write to its disk. Free disk space where it keeps its append-only file',
  LOADING: 'it is loading its data and will answer when it has',
  BUSY: 'it is busy with a script of another program. SCRIPT KILL ends that one',
  MASTERDOWN: 'it is a replica that has lost its primary. Give the address of the primary',
  NOREPLICAS: 'it has too few replicas for writes (min-replicas-to-write). Start them',
  NOAUTH: 'it wants a password. Put one into the address: redis://user:password@host',
  WRONGPASS: 'it does not take the user name and password of the address. Correct them',
  NOPERM: 'its user may not do this. Allow the user all commands, the keys and the channels cce:* (ACL SETUSER)',
  MOVED: 'it is part of a cluster. Give the address of a server that runs alone',
  CLUSTERDOWN: 'it is part of a cluster. Give the address of a server that runs alone',
  CROSSSLOT: 'it is part of a cluster. Give the address of a server that runs alone',
};

/** The first word of an error that the server answered with (`OOM`), else `undefined`. */
export function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  return /^[A-Z]+/.exec(error.message)?.[0] ?? 'ERR';
}

/** Turns trouble with the server into its `ServiceError`; what is a defect of ours stays one. */
export function translateError(error: unknown, shown: string): unknown {
  if (error instanceof ServiceError) return error;
  const word = refusalOf(error);
  const cause = bareError(error);
  const wrong = wrongKeyOf(error);
  if (wrong !== undefined) return unavailable(shown, wrong, cause);
  if (word === undefined) return unavailable(shown, `it does not answer (${cause.message})`, cause);
  const meaning = REFUSALS[word];
  if (meaning !== undefined) return unavailable(shown, meaning, cause);
  return /max number of clients|DB index/.test(cause.message) ? unavailable(shown, cause.message, cause) : cause;
}

/** Without the command that the client notes beside an error: prompts and outputs are in it, and errors are logged. */
function bareError(error: unknown): Error {
  const bare = new Error(reasonOf(error));
  bare.name = error instanceof Error ? error.name : bare.name;
  return bare;
}

export function unavailable(shown: string, why: string, cause?: unknown): ServiceError {
  const message = `Redis at ${shown} does not take this now: ${why}.`;
  return new ServiceError('storage_unavailable', message, { cause, data: { retryAfterMs: RETRY_AFTER_MS } });
}

/** Another program's value under a key of ours. */
function wrongKeyOf(error: unknown): string | undefined {
  const [, found, kind, key] = /^WRONGKEY (\S+) (\S+) (.+?)(?: script: .*)?$/.exec(reasonOf(error)) ?? [];
  if (key !== undefined) {
    return `the key ${key} holds a ${found} where this service keeps a ${kind}, so another program uses keys that begin with cce:. Remove that key, or choose another database number`;
  }
  if (refusalOf(error) !== 'WRONGTYPE') return undefined;
  return `the key ${keyOf(error)} holds a value of the wrong type, so another program uses keys that begin with cce:. Remove that key, or choose another database number`;
}

/** The client notes the command beside the error. */
function keyOf(error: unknown): string {
  if (error instanceof Error && 'command' in error && typeof error.command === 'object' && error.command !== null) {
    const { args } = { args: undefined, ...error.command };
    if (Array.isArray(args) && typeof args[0] === 'string') return args[0];
  }
  return 'cce:…';
}

function reasonOf(error: unknown): string {
  // The client's words for a command whose connection was lost.
  if (error instanceof Error && error.name === 'MaxRetriesPerRequestError') return 'the connection was lost meanwhile';
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(', ');
  return error instanceof Error ? error.message : String(error);
}
