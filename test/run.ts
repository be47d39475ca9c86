import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { CAPABILITIES, type CapabilityName, has } from './support/capabilities.ts';

/**
 * `npm test`: builds the program, runs every test that this machine can run, and names what it could not run and how
 * to have it run. Arguments go to vitest (`npm test -- test/unit`). With CI=true a missing capability is a failure.
 */
const ROOT = join(import.meta.dirname, '..');
const NOBODY = 65_534;

const Report = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      assertionResults: z.array(z.object({ fullName: z.string(), status: z.string() })),
    }),
  ),
});

interface Tally {
  /** File and title of each. */
  passed: string[];
  failed: number;
}

/** Another user than this process's; `home` is a folder that user may write. */
interface As {
  uid: number;
  gid: number;
}

async function run(command: readonly string[], options: { as?: As | undefined; home?: string } = {}): Promise<boolean> {
  const [file = '', ...args] = command;
  const env = options.home === undefined ? process.env : { ...process.env, HOME: options.home };
  const child = spawn(file, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'], env, ...options.as });
  const [exitCode] = await once(child, 'exit');
  return exitCode === 0;
}

/** Runs vitest. A run that ends badly without a failed test (a file that does not load, a crash) counts as one failure. */
async function vitest(args: readonly string[], as?: As): Promise<Tally> {
  const folder = mkdtempSync(join(tmpdir(), 'cc-executor-report-'));
  chmodSync(folder, 0o777);
  const file = join(folder, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const command = ['vitest', 'run', '--configLoader', 'native', ...reporters, ...args];
    const succeeded = await run(command, as === undefined ? {} : { as, home: folder });
    if (!existsSync(file)) return { passed: [], failed: 1 };
    const { testResults } = Report.parse(JSON.parse(readFileSync(file, 'utf8')));
    const tests = testResults.flatMap(({ name, assertionResults }) =>
      assertionResults.map(({ fullName, status }) => ({ title: `${name} ${fullName}`, status })),
    );
    const passed = tests.filter(({ status }) => status === 'passed').map(({ title }) => title);
    const failedTests = tests.filter(({ status }) => status === 'failed').length;
    const unloaded = testResults.filter((suite) => suite.status === 'failed' && suite.assertionResults.length === 0);
    const failed = failedTests + unloaded.length;
    return { passed, failed: succeeded ? failed : Math.max(failed, 1) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** As root, the tests for a user who is not root run in a second pass, as nobody. */
async function unprivilegedPass(): Promise<Tally | undefined> {
  const as = { uid: NOBODY, gid: NOBODY };
  const readable = await run(['node', '-e', "require('node:fs').readdirSync('node_modules/vitest')"], { as });
  if (!readable) return undefined;
  const files = globSync('test/*/**/*.test.ts', { cwd: ROOT }).filter((file) =>
    readFileSync(join(ROOT, file), 'utf8').includes("runIf(has('unprivileged'))"),
  );
  return vitest(['--cache=false', ...files], as);
}

async function main(args: readonly string[]): Promise<number> {
  if (!(await run(['npm', 'run', '--silent', 'build']))) {
    console.log('The build failed, so no test was run.\n0 passed, 1 failed');
    return 1;
  }
  const missing = new Set<CapabilityName>();
  for (const name of Object.keys(CAPABILITIES) as CapabilityName[]) if (!has(name)) missing.add(name);
  const tally = await vitest(args);
  if (args.length === 0 && missing.has('unprivileged')) {
    console.log('\nOnce more as a user who is not root, for the tests that need one:');
    const second = await unprivilegedPass();
    if (second !== undefined) {
      missing.delete('unprivileged');
      const before = new Set(tally.passed);
      tally.passed.push(...second.passed.filter((title) => !before.has(title)));
      tally.failed += second.failed;
    }
  }
  const strict = process.env.CI === 'true' && args.length === 0;
  for (const name of missing) {
    const { what, howToGet } = CAPABILITIES[name];
    console.log(`${strict ? 'FAILED' : 'Not tested'} for want of ${name} (${what}). To have it: ${howToGet}.`);
  }
  if (strict) tally.failed += missing.size;
  console.log(`${tally.passed.length} passed, ${tally.failed} failed`);
  return tally.failed > 0 || tally.passed.length === 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
