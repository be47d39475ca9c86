import { copyFileSync, globSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Copies what the compiler leaves out, such as the launcher, from src to the same place in dist. */
const root = join(import.meta.dirname, '..');

for (const asset of globSync('**/*.pl', { cwd: join(root, 'src') })) {
  const target = join(root, 'dist', asset);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(join(root, 'src', asset), target);
}
