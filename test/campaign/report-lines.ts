import type { CampaignReport } from './campaign.ts';

const MOST_SHOWN = 30;
const MOST_OF_ONE = 400;

/** A report as people read it, the violations last. */
export function reportLines(report: CampaignReport): string[] {
  const { violations, faults } = report;
  const injected = Object.values(faults).reduce((sum, count) => sum + count, 0);
  const list = (counts: Record<string, number>): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ');
  return [
    `${report.runs} submissions, ${report.executions} executions, ${report.starts} processes in ${Math.round(report.tookMs / 1000)} s`,
    `${injected} faults: ${list(faults)}`,
    `outcomes: ${list(report.outcomes)}`,
    `${report.followers} followers, who reconnected ${report.reconnects} times; ${report.failedStarts} starts of nodes while Redis was away`,
    `violations: ${violations.length}`,
    ...violations.slice(0, MOST_SHOWN).map(({ kind, detail }) => `  ${kind}: ${detail.slice(0, MOST_OF_ONE)}`),
    ...(violations.length > MOST_SHOWN ? [`  and ${violations.length - MOST_SHOWN} more`] : []),
    `again: npm run campaign -- --runs ${report.runs} --faults ${injected} --seed ${report.seed} --pace ${report.pace}`,
  ];
}
