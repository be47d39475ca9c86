/** What a redis-server says once it takes connections; its socket is open before. */
export const REDIS_LISTENS = /Server initialized|ready to accept connections/;

/** Arguments of a redis-server that keeps everything it has confirmed, in `folder`, and listens on `socket` alone. */
export function redisArguments(folder: string, socket: string): string[] {
  return [
    ...['--port', '0', '--unixsocket', socket, '--dir', folder, '--save', ''],
    ...['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction', '--daemonize', 'no'],
  ];
}
