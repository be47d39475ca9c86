import type { CredentialFound } from '../model-gateway/credential.ts';
import { repairOf } from '../model-gateway/credential-repair.ts';
import { tryCredential } from '../model-gateway/try-credential.ts';
import { NodeCredential } from '../protocol/credential-status.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Finding } from '../protocol/finding.ts';
import { parsedJson } from '../protocol/json.ts';
import { openSqliteStorage } from '../storage/sqlite/sqlite-storage.ts';

type Found = Omit<Finding, 'name'>;

interface Asked {
  readonly upstream: string;
  readonly proxy: Parameters<typeof tryCredential>[0]['proxy'];
}

/** Which credential pays, until when, and whether the model API takes it. */
export async function checkCredential(
  { upstream, proxy }: Asked,
  { online, findCredential }: { online: boolean; findCredential(): Promise<CredentialFound> },
): Promise<Found[]> {
  const found = await findCredential();
  if (!found.ok) return [{ state: 'problem', detail: found.problem.message }];
  const { credential } = found;
  const until = credential.validUntil;
  const detail = `${credential.describe()}${until === undefined ? '' : `, valid until ${new Date(until).toISOString()}`}`;
  if (!online) return [{ state: 'ok', detail: `${detail}; not tried` }];
  const tried = await tryCredential({ upstream, credential, proxy });
  const { host } = new URL(upstream);
  switch (tried.answer) {
    case 'accepted':
      return [{ state: 'ok', detail: `${detail}; ${host} accepts it` }];
    case 'refused': {
      const repair = repairOf(credential, 'refused');
      return [{ state: 'problem', detail: `${detail}; ${host} refuses it (${tried.detail})`, repair }];
    }
    default: {
      const repair = repairOf(credential, 'unknown');
      return [{ state: 'warn', detail: `${detail}; could not be tried: ${tried.detail}`, repair }];
    }
  }
}

/** What runs of services on this data folder have met with; nothing where all is well. */
export async function seenInRuns({ dataDirectory }: { readonly dataDirectory: string }): Promise<Found[]> {
  return (await notesIn(dataDirectory)).flatMap(({ instanceId, credential: { state, lastRefusal } }): Found[] => {
    if (lastRefusal === null || (state !== 'refused' && state !== 'limited')) return [];
    const { at, status, resetAt, repair } = lastRefusal;
    const what =
      state === 'limited'
        ? `reached its usage limit${resetAt === null ? '' : `, which resets at ${resetAt}`}`
        : `was refused (HTTP ${status})`;
    return [{ state: 'warn', detail: `in a run of the service ${instanceId} it ${what}, at ${at}`, repair }];
  });
}

/** A store that cannot be opened is a finding of its own. */
async function notesIn(dataDirectory: string): Promise<NodeCredential[]> {
  try {
    const store = await openSqliteStorage({ dataDirectory });
    try {
      const notes = await store.listNotes();
      return notes.flatMap(({ note }) => NodeCredential.safeParse(parsedJson(note)).data ?? []);
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof ServiceError) return [];
    throw error;
  }
}
