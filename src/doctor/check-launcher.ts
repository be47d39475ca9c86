import { launch } from '../isolation/launcher.ts';
import type { Finding } from '../protocol/finding.ts';

const PATH = '/usr/local/bin:/usr/bin:/bin';
const EXIT_CODE = 7;

/** A real launch: the exit code must come back, and a process the command leaves behind must be ended. */
export async function checkLauncher(): Promise<Omit<Finding, 'name'>> {
  const { exitCode, failure, swept, left } = await launch({
    command: { file: '/bin/sh', args: ['-c', `sleep 300 & exit ${EXIT_CODE}`], env: { PATH }, cwd: '/' },
  }).exited;
  if (exitCode === EXIT_CODE && swept > 0 && left === 0) {
    return { state: 'ok', detail: 'a test run came back with its exit code, and the process it left behind was ended' };
  }
  const what =
    exitCode === EXIT_CODE
      ? 'a test run left a process behind that was not ended'
      : (failure?.message ?? `a test run ended with ${exitCode} in place of ${EXIT_CODE}`);
  return { state: 'problem', detail: what, repair: 'install perl (perl-base is enough) on a Linux of 3.4 or newer' };
}

/** As root: whether runs in fresh workspaces can really be another user; without root there is nothing to drop. */
export async function checkRunUser(options: {
  runUid: number;
  claude: string | undefined;
  dataDirectory: string;
}): Promise<Omit<Finding, 'name'>[]> {
  const { runUid, claude, dataDirectory } = options;
  const uid = process.getuid?.();
  if (uid !== 0) return [{ state: 'ok', detail: `runs are uid ${uid}, as this program is` }];
  if (claude === undefined) return [];
  const { exitCode, failure } = await launch({
    command: { file: claude, args: ['--version'], env: { PATH }, cwd: dataDirectory },
    identity: { uid: runUid, gid: runUid },
  }).exited;
  if (exitCode === 0) {
    return [{ state: 'ok', detail: `runs are uid ${runUid}; in directories of your own, the owner of the directory` }];
  }
  const why = failure?.message ?? `claude ended with ${exitCode}`;
  return [
    {
      state: 'warn',
      detail: `runs stay root, because uid ${runUid} cannot start claude in the data folder: ${why}`,
      repair: `let every user pass through the folders of ${claude} and ${dataDirectory} (chmod o+x), or set CC_RUN_UID`,
    },
  ];
}
