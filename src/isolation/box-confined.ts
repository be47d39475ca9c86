import type { BoxPlace, ConfinedBox, Door, Enclosed } from './box.ts';
import type { LaunchCommand } from './launcher.ts';
import { CONFINE_PATH, DEVICES, each, PERL, PROC_FILES, SYSTEM_FOLDERS } from './system-paths.ts';

/** Level L2: confine.pl, which takes rights away from itself and becomes the command. Pure. */
export function confinedCommand(box: ConfinedBox, place: BoxPlace, command: LaunchCommand): Enclosed {
  const { gateway, egress } = place;
  const ports = [gateway, ...(egress === undefined ? [] : [egress])].map(portOf);
  const args = [
    CONFINE_PATH,
    ...each('--ro', [...SYSTEM_FOLDERS, '/etc', ...PROC_FILES, ...place.readable, command.file]),
    ...each('--dev', DEVICES),
    ...each('--rw', place.writable),
    ...['--sockets', box.sockets],
    // A run that may have servers of its own has to reach them, on whatever port.
    ...(box.sockets === 'strict' ? each('--connect', ports) : []),
    ...['--status', '3', '--', command.file, ...command.args],
  ];
  return { command: { ...command, file: PERL, args }, box: 'exec' };
}

function portOf(door: Door): string {
  if ('port' in door) return String(door.port);
  throw new Error(`A confined run has no unix sockets, so it cannot reach ${door.socket}`);
}
