import { z } from 'zod';
import type { Followed, Submitted } from './driver.ts';
import type { StoredRun } from './history.ts';
import type { InjectedFault } from './inject-faults.ts';
import type { JournalRun } from './journal.ts';
import type { Submission } from './workload.ts';

/** Everything that is known when a campaign is over. */
export interface History {
  submitted: readonly Submitted[];
  followed: readonly Followed[];
  stored: readonly StoredRun[];
  journal: readonly JournalRun[];
  faults: readonly InjectedFault[];
  /** Which processes each node has had. */
  nodes: readonly { name: string; pids: ReadonlySet<number> }[];
}

/** Something that is not to be, of which kind and where. */
export interface Violation {
  kind: string;
  detail: string;
}

const Event = z.object({ seq: z.int(), type: z.string(), data: z.unknown() });
const Finished = z.object({ outcome: z.object({ kind: z.string() }) });
const Delta = z.object({ text: z.string() });
const DELTAS = '1 2 3 4 5 6 7 8 9 10 ';
/** What a campaign's runs can end as: none has a time limit. */
const OUTCOMES: ReadonlySet<string> = new Set(['succeeded', 'failed', 'cancelled', 'lost']);
/** With its pause, and the time until others see that its worker is gone. */
const LONGEST_RUN_NS = 60_000_000_000n;
/** How a fake Claude fails by itself. */
const OWN_FAILURES: ReadonlySet<string> = new Set(['cli_crashed', 'overloaded']);

/** What breaks a promise in a recorded history; none is expected. */
export function checkHistory(history: History): Violation[] {
  const bySubmission = Map.groupBy(history.stored, ({ execution }) => execution.metadata.submission ?? '');
  const starts = Map.groupBy(history.journal, ({ runId }) => runId);
  const planned = new Map(history.submitted.map(({ submission }) => [String(submission.index), submission]));
  const planOf = ({ execution }: StoredRun): Submission | undefined => planned.get(execution.metadata.submission ?? '');
  const byId = new Map(history.stored.map((run) => [run.execution.id, run]));
  return [
    ...history.submitted.flatMap((submitted) => checkSubmission(submitted, bySubmission, byId)),
    ...history.stored.flatMap((run) => [
      ...checkLog(run),
      ...checkOutcome(run, planOf(run)),
      ...checkStarts(run, starts.get(run.execution.id) ?? [], planOf(run)),
    ]),
    ...history.journal.flatMap(({ runId, pid, overlaps }) =>
      overlaps.map((what) => violation('overlap', `${runId} (pid ${pid}) found the lock of its ${what} taken`)),
    ),
    ...history.journal
      .filter(({ runId }) => !byId.has(runId))
      .map(({ runId }) => violation('unknown run', `${runId} was started, and there is no such execution`)),
    ...checkTimes(history, starts),
    ...checkLost(history, starts),
    ...history.followed.flatMap((followed) => checkFollower(followed, byId.get(followed.id))),
  ];
}

function violation(kind: string, detail: string): Violation {
  return { kind, detail };
}

function checkSubmission(
  { submission, ids, attempts, refusals }: Submitted,
  bySubmission: ReadonlyMap<string, readonly StoredRun[]>,
  byId: ReadonlyMap<string, StoredRun>,
): Violation[] {
  const name = `submission ${submission.index}`;
  const there = bySubmission.get(String(submission.index)) ?? [];
  const missing = [...ids].filter((id) => !byId.has(id));
  const most = submission.idempotencyKey === undefined ? attempts : 1;
  const listed = there.map(({ execution }) => execution.id).join(', ');
  return [
    ...refusals.map((refusal) => violation('refused', `${name}: ${refusal}`)),
    ...missing.map((id) => violation('lost record', `${name} was accepted as ${id}, which is not there`)),
    ...(there.length > most ? [violation('double', `${name} has ${there.length} executions: ${listed}`)] : []),
    ...(submission.idempotencyKey !== undefined && ids.size > 1
      ? [violation('double', `${name} was answered with ${[...ids].join(', ')}`)]
      : []),
  ];
}

function checkLog({ execution, events }: StoredRun): Violation[] {
  if (events === undefined) return [];
  const { id, outcome, lastSeq } = execution;
  const log = events.map((bytes) => Event.parse(JSON.parse(bytes)));
  const gap = log.findIndex(({ seq }, index) => seq !== index + 1);
  const ends = log.filter(({ type }) => type === 'execution.finished');
  const found: Violation[] = [];
  if (gap !== -1) found.push(violation('gap', `${id} has seq ${log[gap]?.seq} in place of ${gap + 1}`));
  if (log.length !== lastSeq)
    found.push(violation('gap', `${id} has ${log.length} events, its record says ${lastSeq}`));
  if (ends.length !== 1 || log.at(-1)?.type !== 'execution.finished')
    found.push(violation('end', `${id} has ${ends.length} ends and its last event is ${log.at(-1)?.type}`));
  const end = Finished.safeParse(ends[0]?.data).data?.outcome.kind;
  if (end !== outcome?.kind) found.push(violation('end', `${id} ended as ${end}, its record says ${outcome?.kind}`));
  if (outcome?.kind === 'succeeded' && textOf(log) !== DELTAS)
    found.push(violation('gap', `${id} succeeded with the text ${JSON.stringify(textOf(log))}`));
  return found;
}

function textOf(log: readonly z.infer<typeof Event>[]): string {
  const deltas = log.filter(({ type }) => type === 'claude.delta');
  return deltas.map(({ data }) => Delta.parse(data).text).join('');
}

function checkOutcome(run: StoredRun, submission: Submission | undefined): Violation[] {
  const { id, state, outcome } = run.execution;
  if (state !== 'finished' || outcome === null) return [violation('unfinished', `${id} is ${state}`)];
  const { kind, reason, message } = outcome;
  const how = `${id} (${submission?.kind}) ended as ${kind}, ${reason}: ${message}`;
  if (!OUTCOMES.has(kind)) return [violation('outcome', how)];
  if (kind === 'failed' && !(OWN_FAILURES.has(reason ?? '') && submission?.kind !== 'plain'))
    return [violation('outcome', how)];
  if (kind === 'cancelled' && submission?.caller.act !== 'cancel') return [violation('outcome', how)];
  return [];
}

function checkStarts(run: StoredRun, starts: readonly JournalRun[], submission: Submission | undefined): Violation[] {
  const { id, outcome, attempt } = run.execution;
  const allowed = 1 + (submission?.retryMax ?? 0);
  const pids = starts.map(({ pid }) => pid).join(', ');
  const found: Violation[] = [];
  if (starts.length > allowed)
    found.push(violation('double start', `${id} was started ${starts.length} times: ${pids}`));
  // The store may not have heard of the last attempt of one that was lost.
  if (starts.length > attempt && outcome?.kind !== 'lost')
    found.push(violation('double start', `${id} has ${starts.length} starts in ${attempt} attempts`));
  if (outcome?.kind === 'succeeded' && starts.length === 0) found.push(violation('start', `${id} succeeded unseen`));
  return found;
}

/** Runs of one workspace or session must not be at once, as far as they have written down when they ended. */
function checkTimes({ stored }: History, starts: ReadonlyMap<string, readonly JournalRun[]>): Violation[] {
  const places = stored.flatMap(({ execution: { id, workspace, sessionId } }) =>
    [`workspace ${workspace}`, `session ${sessionId}`].map((place) => ({ place, id })),
  );
  return [...Map.groupBy(places, ({ place }) => place)].flatMap(([place, members]) => {
    const runs = members.flatMap(({ id }) => starts.get(id) ?? []).sort((a, b) => (a.start < b.start ? -1 : 1));
    return runs.flatMap((run, index) => {
      const next = runs[index + 1];
      if (next === undefined || run.end === undefined || run.end <= next.start) return [];
      return [violation('overlap', `${next.runId} started in ${place} before ${run.runId} had ended`)];
    });
  });
}

/** A run is lost when its worker was killed, frozen or cut off, and not because Redis was away. */
function checkLost(
  { stored, faults, nodes }: History,
  starts: ReadonlyMap<string, readonly JournalRun[]>,
): Violation[] {
  return stored.flatMap(({ execution: { id, outcome } }) => {
    const start = starts.get(id)?.at(-1);
    // A process whose parent is the system's first one began when its service had just been killed.
    if (outcome?.kind !== 'lost' || start === undefined || start.servicePid === 1) return [];
    const worker = nodes.find(({ pids }) => pids.has(start.servicePid))?.name;
    const cause = faults.find(
      ({ kind, on, from, until }) =>
        on === worker && kind !== 'slow' && until >= start.start && from <= start.start + LONGEST_RUN_NS,
    );
    return cause === undefined ? [violation('lost', `${id} was lost, and nothing had happened to ${worker}`)] : [];
  });
}

function checkFollower({ id, over, events, failure }: Followed, run: StoredRun | undefined): Violation[] {
  if (failure !== undefined) return [violation('follower', `${id} over ${over}: ${failure}`)];
  const log = run?.events;
  if (log === undefined) return [];
  const differs = events.findIndex((bytes, index) => bytes !== log[index]);
  if (differs === -1 && events.length === log.length) return [];
  return [
    violation('follower', `${id} over ${over} has ${events.length} events of ${log.length}, first other: ${differs}`),
  ];
}
