import { fastify } from 'fastify';
import { expect, it } from 'vitest';
import { closeDoors } from '../../src/server/shut-down.ts';

it('doors that are closed at once break off an answer that would never end', async () => {
  const app = fastify();
  app.get('/', async (_, reply) => {
    reply.raw.write('begun');
    reply.hijack();
  });
  const answer = await fetch(await app.listen({ host: '127.0.0.1', port: 0 }));
  const rest = answer.text();
  await closeDoors(app, 0);
  await expect(rest).rejects.toThrow();
});
