import { chmodSync, copyFileSync, globSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Finishes what the compiler made: copies the launcher to the same place in dist, and makes the program executable. */
const root = join(import.meta.dirname, '..');

for (const asset of globSync('**/*.pl', { cwd: join(root, 'src') })) {
  const target = join(root, 'dist', asset);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(join(root, 'src', asset), target);
}
for (const program of globSync('bin/cli.js', { cwd: join(root, 'dist') })) {
  chmodSync(join(root, 'dist', program), 0o755);
}
