import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A file system of its own of `mebibytes`, for tests with the capability `mount`; unmounted when the running test ends. */
export function smallDisk(mebibytes: number): { path: string; makeReadOnly(): void } {
  const path = mkdtempSync(join(tmpdir(), 'cc-executor-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0755`, 'tmpfs', path]);
  onTestFinished(() => {
    unmount(path);
  });
  return { path, makeReadOnly: () => void execFileSync('mount', ['-o', 'remount,ro', path]) };
}

function unmount(path: string): void {
  execFileSync('umount', [path]);
  rmdirSync(path);
}
