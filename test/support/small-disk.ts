import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Whether this process may mount file systems; without it the tests of full and read-only disks are skipped. */
export const CAN_MOUNT = canMount();

/** A file system of its own of `mebibytes`; unmounted when the running test ends. */
export function smallDisk(mebibytes: number): { path: string; makeReadOnly(): void } {
  const path = mkdtempSync(join(tmpdir(), 'cc-executor-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0755`, 'tmpfs', path]);
  onTestFinished(() => {
    unmount(path);
  });
  return { path, makeReadOnly: () => void execFileSync('mount', ['-o', 'remount,ro', path]) };
}

function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return false;
  }
  const path = mkdtempSync(join(tmpdir(), 'cc-executor-disk-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path]).status === 0;
  if (mounted) {
    unmount(path);
  } else {
    rmdirSync(path);
  }
  return mounted;
}

function unmount(path: string): void {
  execFileSync('umount', [path]);
  rmdirSync(path);
}
