import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { has } from '../support/capabilities.ts';
import { machine } from '../support/program.ts';

const run = promisify(execFile);

/** An https server with a certificate of its own in front of a plain one, below a path. */
async function httpsFront(url: string, folder: string): Promise<{ url: string; certificate: string }> {
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate],
  ]);
  const server = createServer({ key: await readFile(key), cert: await readFile(certificate) }, (incoming, outgoing) => {
    const path = (incoming.url ?? '').replace(/^\/gateway\/one/, '');
    const onward = request(url + path, { method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return { url: `https://localhost:${port}/gateway/one`, certificate };
}

it.runIf(has('openssl'))('an https upstream below a path is reached, and its certificate is checked', async () => {
  const { run: program, model, folder } = await machine([{ kind: 'text', text: 'Hello over TLS' }]);
  const front = await httpsFront(model.url, folder);
  const trusted = await program(['run', '-q', 'hi'], {
    env: { ANTHROPIC_BASE_URL: front.url, NODE_EXTRA_CA_CERTS: front.certificate },
  });
  expect(trusted).toMatchObject({ code: 0, stdout: 'Hello over TLS\n' });
  expect(model.requests[0]?.path).toBe('/v1/messages?beta=true');
  const doubted = await program(['run', 'hi'], { env: { ANTHROPIC_BASE_URL: front.url } });
  expect(doubted.code).toBe(1);
  expect(doubted.stderr).toMatch(/self.signed certificate|SELF_SIGNED|certificate/i);
});
