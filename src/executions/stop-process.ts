import { INTERRUPT_MESSAGE } from '../claude/command.ts';
import type { ClaudeProcess } from '../claude/process.ts';

const INTERRUPT_GRACE_MS = 2_000;
const END_OF_INPUT_GRACE_MS = 1_000;
const TERMINATE_GRACE_MS = 2_000;
/** How long a process may take to exit after its result, before it is ended. */
const EXIT_GRACE_MS = 5_000;

/** Waits for any of the promises, at most `limitMs`, or until `force` aborts; true when one resolved. */
async function within(limitMs: number, force: AbortSignal, promises: Promise<unknown>[]): Promise<boolean> {
  if (force.aborted) return false;
  return new Promise((resolve) => {
    const end = (answer: boolean): void => {
      clearTimeout(timer);
      force.removeEventListener('abort', giveUp);
      resolve(answer);
    };
    const giveUp = (): void => end(false);
    const timer = setTimeout(giveUp, limitMs);
    force.addEventListener('abort', giveUp);
    for (const promise of promises) promise.then(() => end(true), giveUp);
  });
}

/**
 * Ends a run against its will: interrupt, end of input, SIGTERM, SIGKILL for the whole family, each with its grace
 * (5 s in all). With the interrupt the CLI still says how far it got. `force` skips the graces.
 */
export async function stopProcess(
  claude: ClaudeProcess,
  { turnEnded, force }: { turnEnded: Promise<void>; force: AbortSignal },
): Promise<void> {
  // A launcher that does not answer is no reason to leave its family alive.
  await claude.resume().catch(() => claude.kill());
  void claude.send(INTERRUPT_MESSAGE);
  await within(INTERRUPT_GRACE_MS, force, [turnEnded, claude.exited]);
  claude.endInput();
  if (!(await within(END_OF_INPUT_GRACE_MS, force, [claude.exited]))) await terminate(claude, force);
}

/** Lets a process exit after its result, and ends it when it does not; `onTerminate` is told before that. */
export async function awaitExit(
  claude: ClaudeProcess,
  { force, onTerminate }: { force: AbortSignal; onTerminate: () => void },
): Promise<void> {
  claude.endInput();
  if (await within(EXIT_GRACE_MS, force, [claude.exited])) return;
  onTerminate();
  await terminate(claude, force);
}

async function terminate(claude: ClaudeProcess, force: AbortSignal): Promise<void> {
  claude.terminate();
  if (!(await within(TERMINATE_GRACE_MS, force, [claude.exited]))) claude.kill();
}
