import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { SYSTEM_FOLDERS } from './system-paths.ts';

/** What lies beside a folder of programs and is needed by them: nvm, pipx, a compiler in /opt. */
const BESIDE_PROGRAMS = ['lib', 'lib64', 'libexec'];
/** Files and folders that a run is told of in its environment. */
const NAMED = ['SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'];

/**
 * What runs may read beside the system's own folders: the folders of PATH with the libraries beside them, certificates, and
 * what the operator adds. Left out is what does not exist and what holds, or lies in, a folder of `closed`, such as the
 * data folder; the home folder itself is never in it.
 */
export function toolPaths(options: {
  environment: Readonly<Record<string, string>>;
  added: readonly string[];
  closed: readonly string[];
  home: string;
}): string[] {
  const { environment, added, closed } = options;
  const home = realOf(options.home);
  const programs = (environment.PATH ?? '').split(':').flatMap(withLibraries);
  const named = NAMED.flatMap((name) => environment[name] ?? []);
  const closedPaths = closed.map(realOf);
  const isClosed = (path: string): boolean =>
    isWithin(home, path) || closedPaths.some((folder) => isWithin(folder, path) || isWithin(path, folder));
  const isSystem = (path: string): boolean => SYSTEM_FOLDERS.some((folder) => isWithin(path, folder));
  const asked = [...programs, ...named, ...added].filter((path) => isAbsolute(path) && existsSync(path));
  const names = asked.flatMap((path) => {
    const real = realpathSync(path);
    return isClosed(real) || isClosed(resolve(path)) ? [] : [resolve(path), real];
  });
  return [...new Set(names)].filter((path) => !isSystem(path));
}

function withLibraries(folder: string): string[] {
  if (basename(folder) === '.bin' && basename(dirname(folder)) === 'node_modules') return [dirname(folder)];
  const beside = basename(folder) === 'bin' ? BESIDE_PROGRAMS.map((name) => join(dirname(folder), name)) : [];
  return [folder, ...beside];
}

/** Whether a path is a folder or lies below it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);
}

/** The path without symbolic links, of its part that exists. */
export function realOf(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realOf(parent), basename(path));
}
