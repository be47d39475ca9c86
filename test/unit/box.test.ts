import { describe, expect, it } from 'vitest';
import { type BoxPlace, enclose } from '../../src/isolation/box.ts';

const command = { file: '/opt/claude/claude', args: ['--model=x', '--'], env: { A: 'b' }, cwd: '/data/ws' };
const place: BoxPlace = {
  readable: ['/opt/tools', '/data/ws/node_modules'],
  writable: ['/data/ws', '/data/run/home'],
  home: '/data/run/home',
  gateway: { port: 4711 },
};
const sandbox = { level: 'L3', proc: 'own', bwrap: '/usr/bin/bwrap', etc: '/data/box' } as const;
const bySocket = { ...place, gateway: { socket: '/data/run/gateway/s' } };

/** The values behind an option. */
const values = (args: readonly string[], option: string): (string | undefined)[] =>
  args.flatMap((arg, at) => (arg === option ? [args[at + 1]] : []));

describe('a box', () => {
  it('of L1 is the command as it was', () => {
    expect(enclose({ level: 'L1' }, place, command)).toEqual({ command });
  });

  it('of L2 names what may be read, what may be changed, and the one port, and keeps the environment', () => {
    const { command: boxed, box } = enclose({ level: 'L2', sockets: 'strict' }, place, command);
    expect(box).toBe('exec');
    expect(boxed).toMatchObject({ file: '/usr/bin/perl', env: { A: 'b' }, cwd: '/data/ws' });
    expect(values(boxed.args, '--rw')).toEqual(place.writable);
    expect(values(boxed.args, '--ro')).toEqual(expect.arrayContaining(['/usr', '/etc', '/opt/tools', command.file]));
    expect(values(boxed.args, '--connect')).toEqual(['4711']);
    expect(boxed.args.slice(-4)).toEqual(['--', command.file, ...command.args]);
  });

  it('of L2 leads to the egress port too, and with open sockets to any port', () => {
    const strict = enclose({ level: 'L2', sockets: 'strict' }, { ...place, egress: { port: 3129 } }, command);
    expect(values(strict.command.args, '--connect')).toEqual(['4711', '3129']);
    const open = enclose({ level: 'L2', sockets: 'all' }, place, command);
    expect(values(open.command.args, '--connect')).toEqual([]);
    expect(values(open.command.args, '--sockets')).toEqual(['all']);
  });

  it('of L3 shows its folders, the gateway by its socket alone, and nothing of the data folder beside', () => {
    const { command: boxed, box } = enclose(sandbox, bySocket, command);
    expect(box).toBe('init');
    expect(boxed.file).toBe('/usr/bin/bwrap');
    expect(boxed.env).toEqual({
      A: 'b',
      ANTHROPIC_BASE_URL: 'http://gateway.invalid',
      ANTHROPIC_UNIX_SOCKET: '/run/gateway/s',
    });
    const { args } = boxed;
    expect(values(args, '--bind')).toEqual(['/data/ws', '/data/run/home']);
    const shown = [...values(args, '--ro-bind'), ...values(args, '--bind')].filter((path) => path?.startsWith('/data'));
    const etc = ['passwd', 'group', 'hosts', 'nsswitch.conf'].map((name) => `/data/box/${name}`);
    expect(shown).toEqual([...etc, '/data/run/gateway', '/data/ws', '/data/run/home']);
    for (const option of ['--unshare-all', '--disable-userns', '--die-with-parent', '--new-session', '--cap-drop']) {
      expect(args).toContain(option);
    }
  });

  it('of L3 lets what may be changed win over what may be read, and binds outer folders first', () => {
    const nested = {
      ...bySocket,
      readable: ['/data', '/data/ws/node_modules'],
      writable: ['/data/ws/sub/deep', '/data/ws'],
    };
    const { args } = enclose(sandbox, nested, command).command;
    const bound = args.flatMap((arg, at) => (/^--(ro-)?bind$/.test(arg) ? [[arg, args[at + 1]]] : []));
    expect(bound.filter(([, path]) => /^\/data(\/ws.*)?$/.test(path ?? ''))).toEqual([
      ['--ro-bind', '/data'],
      ['--bind', '/data/ws'],
      ['--bind', '/data/ws/sub/deep'],
    ]);
  });

  it('of L3 with a shared /proc is confined inside, and does not ask for what the system would refuse', () => {
    const { args } = enclose({ ...sandbox, proc: 'shared' }, bySocket, command).command;
    expect(args).not.toContain('--disable-userns');
    expect(values(args, '--rw')).toEqual(expect.arrayContaining(['/data/ws', '/tmp']));
    expect(values(args, '--ro')).not.toContain('/proc');
  });

  it('of L3 gets a bridge to the egress socket, which is in a folder of its own', () => {
    const { args } = enclose(sandbox, { ...bySocket, egress: { socket: '/data/run/egress/p' } }, command).command;
    expect(values(args, '--bridge')).toEqual(['3128=/run/egress/p']);
    expect(values(args, '--ro-bind')).toContain('/data/run/egress');
  });

  it('refuses a way out that it cannot have', () => {
    expect(() => enclose({ level: 'L2', sockets: 'strict' }, bySocket, command)).toThrow('no unix sockets');
    expect(() => enclose(sandbox, place, command)).toThrow('a network of its own');
  });
});
