import { readdir, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Execution } from '../../src/protocol/execution.ts';
import { checkHistory, type Violation } from './check-history.ts';
import type { Cluster } from './cluster.ts';
import { Driver } from './driver.ts';
import { planFaults } from './fault-plan.ts';
import { listAll, readStored, unfinishedAfter } from './history.ts';
import { FaultInjector } from './inject-faults.ts';
import { readJournal } from './journal.ts';
import { planSubmissions } from './workload.ts';

export interface CampaignOptions {
  runs: number;
  faults: number;
  seed: number;
  /** Submissions in a second. */
  pace: number;
  /** How long the executions may take to finish when everything is healed, in ms. */
  endWithinMs: number;
  /** Told what is going on, a line at a time. */
  tell(line: string): void;
}

export interface CampaignReport {
  seed: number;
  runs: number;
  pace: number;
  /** How many were there at the end: those accepted without a key may be more than were submitted. */
  executions: number;
  faults: Record<string, number>;
  outcomes: Record<string, number>;
  starts: number;
  reconnects: number;
  followers: number;
  /** Starts of nodes that failed, because Redis was away. */
  failedStarts: number;
  tookMs: number;
  violations: Violation[];
}

const LEFTOVERS_WITHIN_MS = 10_000;
const TELL_EVERY_MS = 15_000;

/**
 * Runs a campaign on a fresh cluster, to the check of its history. Its nodes have ended by then; whoever has opened the
 * cluster closes it.
 */
export async function runCampaign(
  { runs, faults, seed, pace, endWithinMs, tell }: CampaignOptions,
  cluster: Cluster,
): Promise<CampaignReport> {
  const begun = performance.now();
  const injector = new FaultInjector(cluster);
  const driver = new Driver(cluster, seed);
  const said = (): string =>
    `${driver.submitted.length} submitted, ${driver.answered} answered, ${injector.injected.length} faults`;
  const telling = setInterval(() => tell(said()), TELL_EVERY_MS);
  try {
    const everyMs = 1_000 / pace;
    await Promise.all([
      driver.run(planSubmissions(runs, seed), { everyMs }),
      injector.run(planFaults(faults, { seed, runs }), () => driver.answered),
    ]);
    tell(`${said()}; all is healed`);
    const notReady = await cluster.notReady();
    const unfinished = await unfinishedAfter(driver.client(), endWithinMs);
    await driver.followersEnd(30_000);
    const leftovers = await leftoversOf(cluster.journal);
    const ids = (await listAll(driver.client())).map(({ id }) => id);
    const open = new Set(unfinished.map(({ id }) => id));
    tell(`${ids.length} executions are there, ${open.size} of them have not finished; their logs are read`);
    const stored = await readStored(
      ids.filter((id) => !open.has(id)),
      () => driver.client(),
    );
    const journal = await readJournal(cluster.journal);
    const { submitted, followed } = driver;
    const codes = await Promise.all(cluster.nodes.map(async (node) => ({ node, code: await node.stop() })));
    const violations = [
      ...checkHistory({
        submitted,
        followed,
        stored: [...stored, ...unfinished.map((execution) => ({ execution, events: undefined }))],
        journal,
        faults: injector.injected,
        nodes: cluster.nodes,
      }),
      ...notReady.map((detail) => ({ kind: 'not ready', detail })),
      ...leftovers.map((detail) => ({ kind: 'orphan', detail })),
      ...cluster.nodes.flatMap(({ crashes }) => crashes.map((detail) => ({ kind: 'crash', detail }))),
      ...codes
        .filter(({ code }) => code !== 0)
        .map(({ node, code }) => ({ kind: 'stop', detail: `${node.name} ended with ${code} when it was told to` })),
    ];
    return {
      seed,
      runs,
      pace,
      executions: ids.length,
      faults: counted(injector.injected.map(({ kind }) => kind)),
      outcomes: counted(stored.map(({ execution: { outcome } }) => outcomeName(outcome))),
      starts: journal.length,
      reconnects: followed.reduce((sum, { reconnects }) => sum + reconnects, 0),
      followers: followed.length,
      failedStarts: cluster.nodes.reduce((sum, { failedStarts }) => sum + failedStarts, 0),
      tookMs: performance.now() - begun,
      violations,
    };
  } finally {
    clearInterval(telling);
    await driver.close();
  }
}

/** The processes of runs that are there although no run is, each with its command; as root, those of every user. */
async function leftoversOf(journal: string): Promise<string[]> {
  const deadline = performance.now() + LEFTOVERS_WITHIN_MS;
  const entry = `CAMPAIGN_JOURNAL=${journal}\0`;
  for (;;) {
    const found: string[] = [];
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      if (!(await procText(pid, 'environ')).includes(entry)) continue;
      found.push(`${pid} ${(await procText(pid, 'cmdline')).replaceAll('\0', ' ').slice(0, 120)}`);
    }
    if (found.length === 0 || performance.now() > deadline) return found;
    await delay(200);
  }
}

/** Empty for a process that has ended, or that belongs to somebody else. */
async function procText(pid: string, file: string): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && ['ENOENT', 'ESRCH', 'EACCES'].includes(String(error.code)))
      return '';
    throw error;
  }
}

function outcomeName(outcome: Execution['outcome']): string {
  if (outcome === null) return 'none';
  return outcome.kind === 'failed' ? `failed (${outcome.reason})` : outcome.kind;
}

function counted(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of [...names].sort()) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
