import { cold } from './cold.ts';
import { deltas } from './deltas.ts';
import { flood } from './flood.ts';
import { gateway } from './gateway.ts';
import { machineLine } from './measure.ts';

/** `npm run bench`: all of them; `npm run bench -- cold flood --quick`: some, with fewer rounds. */
const asked = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const quick = process.argv.includes('--quick');
const all = [cold, deltas, flood, gateway];
const unknown = asked.filter((name) => !all.some((benchmark) => benchmark.name === name));
if (unknown.length > 0) {
  console.error(`There is no benchmark ${unknown.join(', ')}; there are ${all.map(({ name }) => name).join(', ')}`);
  process.exit(2);
}
console.log(machineLine());
for (const { name, about, run } of all) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  console.log(`\n${name}: ${about}`);
  for (const line of await run(quick)) console.log(`  ${line}`);
  console.log(`  again: npm run bench -- ${name}`);
}
