import { readFile, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

/**
 * The repository of a git worktree, which lies outside of it and which git changes; undefined for a folder that is none.
 * A `.git` file alone is not believed, because a run can write one: the repository must name the worktree in turn
 * (gitrepository-layout(5): `worktrees/<id>/gitdir`, `commondir`).
 */
export async function repositoryOf(worktree: string): Promise<string | undefined> {
  const link = join(worktree, '.git');
  const named = /^gitdir: (.+)$/m.exec(await contentOf(link))?.[1];
  if (named === undefined) return undefined;
  const own = resolve(worktree, named.trim());
  const repository = resolve(own, (await contentOf(join(own, 'commondir'))).trim() || '.');
  const back = (await contentOf(join(own, 'gitdir'))).trim();
  const isItsWorktree = dirname(own) === join(repository, 'worktrees') && back !== '' && resolve(own, back) === link;
  return isItsWorktree ? repository : undefined;
}

/** Empty for what is not there, not a file, or closed to this user. */
async function contentOf(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    return size > 4096 ? '' : await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return '';
    throw error;
  }
}
