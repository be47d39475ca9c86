import { confinedCommand } from './box-confined.ts';
import { sandboxedCommand } from './box-sandboxed.ts';
import type { LaunchCommand, LaunchOptions } from './launcher.ts';

/** What a service encloses its runs in; see docs/security.md for what each keeps them from. */
export type Box = OpenBox | ConfinedBox | SandboxedBox;

export interface OpenBox {
  level: 'L1';
}

export interface ConfinedBox {
  level: 'L2';
  /** `strict`: TCP to the ports of the place alone; `all`: also servers of its own, and with them those of others. */
  sockets: 'strict' | 'all';
}

export interface SandboxedBox {
  level: 'L3';
  /** `shared` where the system allows no /proc of its own: what shows of it is then confined. */
  proc: 'own' | 'shared';
  /** The bubblewrap program. */
  bwrap: string;
  /** A folder with `passwd`, `group`, `hosts` and `nsswitch.conf` for the box; see `writeBoxFiles`. */
  etc: string;
}

/** What is in the box of one process. Paths are absolute, without symbolic links, and the same inside and outside. */
export interface BoxPlace {
  /** Files and folders that may be read and executed, beside the system's own. */
  readable: readonly string[];
  /** Folders that may be changed. */
  writable: readonly string[];
  home: string;
  /** Where the model is: a port on loopback at L2, a socket in a folder of its own at L3. */
  gateway: Door;
  /** Where the rest of the world is, if anywhere. */
  egress?: Door;
}

/** A way out of a box. At L3 the folder of the socket holds nothing else. */
export type Door = { port: number } | { socket: string };

export type Enclosed = Pick<LaunchOptions, 'command' | 'box'>;

/** The command in its box. Pure. At L1 it is the command as it was. */
export function enclose(box: Box, place: BoxPlace, command: LaunchCommand): Enclosed {
  switch (box.level) {
    case 'L1':
      return { command };
    case 'L2':
      return confinedCommand(box, place, command);
    default:
      return sandboxedCommand(box, place, command);
  }
}
