import { accessSync, constants, mkdirSync, writeFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { ServiceError } from '../protocol/errors.ts';
import type { Box, ConfinedBox } from './box.ts';
import { BOX_FILES } from './box-sandboxed.ts';
import type { Identity } from './launcher-arguments.ts';
import { type Sweep, sweepBoxes } from './probe.ts';
import { toolPaths } from './tool-paths.ts';

/** What encloses the runs of a service, and why it is that. */
export interface Isolation {
  level: Box['level'];
  box: Box;
  /** What runs may read beside the system's own folders, see `toolPaths`. */
  tools: readonly string[];
  /** For people: what was proven, and what stands in the way of more. */
  detail: string;
}

export interface IsolationOptions {
  wanted: 'auto' | Box['level'];
  sockets: ConfinedBox['sockets'];
  dataDirectory: string;
  /** Who runs are; undefined where they are the user of the service. */
  identity: Identity | undefined;
  /** What runs inherit of the environment; the programs that make boxes are looked for in its PATH. */
  environment: Readonly<Record<string, string>>;
  /** Folders that runs may read beside those. */
  readable: readonly string[];
  home: string;
}

/** L1 must show all of these, or a sweep that finds none of them proves nothing. */
const CONTROL = ['file', 'environment', 'arguments', 'port', 'socket', 'abstract socket', 'signal', 'write'];
/** What a run may reach at L2 where it may have servers of its own. */
const WITH_OPEN_SOCKETS = ['port', 'socket'];

/**
 * The best isolation level that this machine is proven to give: secrets are planted, and a sweep in the real box must find
 * none of them, while the same sweep without a box finds all. A level that is asked for by name is that or nothing.
 * @throws ServiceError `isolation_unavailable`, with what the probe found
 */
export async function proveIsolation(options: IsolationOptions): Promise<Isolation> {
  const { wanted, environment, readable, dataDirectory, home } = options;
  const open = { level: 'L1', box: { level: 'L1' }, tools: [] } as const;
  if (wanted === 'L1') return { ...open, detail: 'L1, as CC_ISOLATION says' };
  const failed: string[] = [];
  const proven = await firstProven(options, failed);
  const why = failed.join('; ');
  if (proven !== undefined) {
    const tools = toolPaths({ environment, added: readable, closed: [dataDirectory], home });
    return { level: proven.level, box: proven, tools, detail: `${nameOf(proven)}${why === '' ? '' : `; ${why}`}` };
  }
  if (wanted === 'auto') return { ...open, detail: `L1, because ${why}` };
  throw new ServiceError(
    'isolation_unavailable',
    `CC_ISOLATION is ${wanted}, and this machine does not give it: ${why}. Repair that, or choose a lower level; ` +
      'docs/security.md says what each needs',
  );
}

async function firstProven(options: IsolationOptions, failed: string[]): Promise<Box | undefined> {
  const boxes = candidates(options, failed);
  let proven: Box | undefined;
  const place = { parent: join(options.dataDirectory, 'probe'), identity: options.identity };
  try {
    await sweepBoxes([{ level: 'L1' }, ...boxes], place, (box, sweep) => {
      const problem = box.level === 'L1' ? whyVoid(sweep) : whyNot(box, sweep);
      if (box.level === 'L1') {
        if (problem !== undefined) failed.push(problem);
        return problem !== undefined;
      }
      if (problem === undefined) proven = box;
      else if (!failed.some((known) => known.endsWith(`: ${problem}`))) failed.push(`no ${nameOf(box)}: ${problem}`);
      return problem === undefined;
    });
  } catch (error) {
    // Whatever the machine does not let the probe do, the probe has not proven anything.
    if (!(error instanceof Error)) throw error;
    failed.push(`the probe failed: ${error.message}`);
  }
  return proven;
}

/** Best first. */
function candidates({ wanted, sockets, dataDirectory, environment }: IsolationOptions, failed: string[]): Box[] {
  const confined: Box[] = wanted === 'L3' ? [] : [{ level: 'L2', sockets }];
  if (wanted === 'L2') return confined;
  const bwrap = findProgram('bwrap', environment.PATH ?? '');
  if (bwrap === undefined) {
    failed.push('no L3: bubblewrap is not installed');
    return confined;
  }
  const etc = writeBoxFiles(dataDirectory);
  return [{ level: 'L3', proc: 'own', bwrap, etc }, { level: 'L3', proc: 'shared', bwrap, etc }, ...confined];
}

function whyVoid({ leaks, broken }: Sweep): string | undefined {
  if (broken !== undefined) return `the probe does not work here: ${broken}`;
  const unseen = CONTROL.filter((name) => !leaks.includes(name));
  return unseen.length === 0
    ? undefined
    : `the probe proves nothing here: even without a box it did not get at ${unseen.join(', ')}`;
}

function whyNot(box: Box, { leaks, broken }: Sweep): string | undefined {
  const open = box.level === 'L2' && box.sockets === 'all' ? WITH_OPEN_SOCKETS : [];
  const leaked = leaks.filter((name) => !open.includes(name));
  return leaked.length === 0 ? broken : `a run got at what is not its own (${leaked.join(', ')})`;
}

function nameOf(box: Box): string {
  switch (box.level) {
    case 'L1':
      return 'L1';
    case 'L2':
      return box.sockets === 'strict' ? 'L2' : 'L2 with open sockets';
    default:
      return box.proc === 'own' ? 'L3' : 'L3 with a shared /proc';
  }
}

function findProgram(name: string, path: string): string | undefined {
  return path
    .split(':')
    .filter(isAbsolute)
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}

/** The few files of /etc that a box has of its own; they are the same for all. */
export function writeBoxFiles(dataDirectory: string): string {
  const folder = join(dataDirectory, 'box');
  mkdirSync(dataDirectory, { recursive: true, mode: 0o711 });
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  for (const [name, text] of Object.entries(BOX_FILES)) writeFileSync(join(folder, name), text, { mode: 0o644 });
  return folder;
}
