import { fileURLToPath } from 'node:url';

/** Programs and libraries of the system; on a merged /usr the others are links into it. */
export const SYSTEM_FOLDERS: readonly string[] = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];

/** What runtimes read of /proc to size themselves. None tells of another process. */
export const PROC_FILES: readonly string[] = ['/proc/cpuinfo', '/proc/meminfo', '/proc/stat', '/proc/loadavg'];

export const DEVICES: readonly string[] = ['null', 'zero', 'full', 'random', 'urandom', 'tty'].map(
  (it) => `/dev/${it}`,
);

export const PERL = '/usr/bin/perl';

/** The programs of this folder; they lie beside this module in `src` and in `dist`. */
export const CONFINE_PATH: string = fileURLToPath(new URL('./confine.pl', import.meta.url));
export const BOX_INIT_PATH: string = fileURLToPath(new URL('./box-init.pl', import.meta.url));
export const SWEEP_PATH: string = fileURLToPath(new URL('./sweep.pl', import.meta.url));

/** `option a`, `option b` … */
export function each(option: string, values: readonly string[]): string[] {
  return values.flatMap((value) => [option, value]);
}
