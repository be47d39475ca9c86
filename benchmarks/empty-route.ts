import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { fastify } from 'fastify';

/** A route that answers with an empty object, in a process of its own: what the framework alone can do. */
export async function withEmptyRoute<T>(use: (route: { url: string; pid: number }) => Promise<T>): Promise<T> {
  const child = fork(fileURLToPath(import.meta.url));
  const exited = once(child, 'exit');
  try {
    const [url] = await Promise.race([once(child, 'message'), exited]);
    if (typeof url !== 'string' || child.pid === undefined) throw new Error('the empty route did not start');
    return await use({ url, pid: child.pid });
  } finally {
    child.kill();
    await exited;
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const app = fastify();
  app.get('/', async () => ({}));
  // A benchmark that is killed must not leave its server behind.
  process.once('disconnect', () => process.exit());
  process.send(await app.listen({ port: 0, host: '127.0.0.1' }));
}
