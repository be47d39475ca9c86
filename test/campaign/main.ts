import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type CampaignReport, runCampaign } from './campaign.ts';
import { openCluster } from './cluster.ts';
import { reportLines } from './report-lines.ts';

/**
 * `npm run campaign -- --runs 10000 --seed 7`; `--faults` is one for every 6 runs, `--pace` how many are submitted in a
 * second. Exit 1 when a promise was broken; logs, journal and report are kept then.
 */
const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '300' },
    faults: { type: 'string' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    pace: { type: 'string', default: '4' },
  },
});
const runs = Number(values.runs);
const folder = await mkdtemp(join(tmpdir(), 'cc-executor-campaign-'));
await chmod(folder, 0o755);
const cluster = await openCluster(folder);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void cluster.close().then(() => process.exit(130)));
}
let report: CampaignReport | undefined;
try {
  report = await runCampaign(
    {
      runs,
      faults: Number(values.faults ?? Math.ceil(runs / 6)),
      seed: Number(values.seed),
      pace: Number(values.pace),
      endWithinMs: 180_000,
      tell: (line) => console.log(`${new Date().toISOString()} ${line}`),
    },
    cluster,
  );
} finally {
  await cluster.close();
  const sound = report?.violations.length === 0;
  if (sound) await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  else console.log(`logs and journal: ${folder}`);
  if (!sound) process.exitCode = 1;
}
for (const line of reportLines(report)) console.log(line);
if (report.violations.length > 0) await writeFile(join(folder, 'report.json'), JSON.stringify(report, null, 1));
