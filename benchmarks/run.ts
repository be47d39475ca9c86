import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { cold } from './cold.ts';
import { deltas } from './deltas.ts';
import { eight } from './eight.ts';
import { flood } from './flood.ts';
import { gateway } from './gateway.ts';
import { idle } from './idle.ts';
import { type Benchmark, machineLine } from './measure.ts';
import { queue, queueLong } from './queue.ts';
import { reads } from './reads.ts';
import { redis } from './redis.ts';
import { streams } from './streams.ts';
import { warm } from './warm.ts';

/**
 * `npm run bench`: all of them; `npm run bench -- cold flood --quick`: some, with fewer rounds; `--long`: also those that
 * take many minutes.
 */
const flags = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const ALL = [cold, warm, eight, deltas, flood, gateway, streams, idle, reads, redis, queue];
if (flags.includes('--long')) ALL.push(queueLong);
const unknown = [
  ...names.filter((name) => !ALL.some((benchmark) => benchmark.name === name)),
  ...flags.filter((flag) => flag !== '--quick' && flag !== '--long'),
];
if (unknown.length > 0) {
  const known = ALL.map(({ name }) => name).join(', ');
  console.error(`There is no benchmark or option ${unknown.join(', ')}; there are ${known}, --quick and --long`);
  process.exit(2);
}
const asked = ALL.filter(({ name }) => names.length === 0 || names.includes(name));
const [only, ...others] = asked;
if (only !== undefined && others.length === 0) await runHere(only);
else for (const { name } of asked) await runApart(name);

async function runHere({ name, about, run }: Benchmark): Promise<void> {
  console.log(`${name}: ${about}`);
  for (const line of await run(flags.includes('--quick'))) console.log(`  ${line}`);
  console.log(`  again: npm run bench -- ${[name, ...flags].join(' ')}  (${machineLine()})`);
}

/** In a process of its own, so that no benchmark measures what another has left in memory. */
async function runApart(name: string): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), name, ...flags], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  if (code !== 0) process.exitCode = 1;
}
