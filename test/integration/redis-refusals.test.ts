// promise: P9

import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inspect, promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openRedisStorage } from '../../src/storage/redis/redis-storage.ts';
import { has } from '../support/capabilities.ts';
import { eventOf, finishOf, recordOf } from '../support/execution-records.ts';
import { waitUntil } from '../support/processes.ts';
import { openOn, type RedisServer, redisServer } from '../support/redis-server.ts';
import { smallDisk } from '../support/small-disk.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const run = promisify(execFile);

/** The refusal of whoever opens the store there. */
async function refusalOf(url: string): Promise<unknown> {
  const [result] = await Promise.allSettled([openRedisStorage({ url })]);
  if (result?.status === 'fulfilled') await result.value.close();
  return result?.status === 'rejected' ? result.reason : undefined;
}

function refusal(...words: string[]): object {
  const pattern = new RegExp(words.join('.*'), 's');
  return expect.objectContaining({ code: 'storage_unavailable', message: expect.stringMatching(pattern) });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

function withUser({ url }: RedisServer, user: string, password: string): string {
  return url.replace('unix://', `unix://${user}:${password}@redis`);
}

describe.runIf(has('redis'))('a Redis that the store refuses', () => {
  test.each([
    { args: ['--maxmemory-policy', 'allkeys-lru'], words: ['maxmemory-policy is allkeys-lru', 'noeviction'] },
    { args: ['--appendonly', 'no'], words: ['appendonly is no', 'Set appendonly to yes'] },
    { args: ['--requirepass', 'secret'], words: ['wants a password'] },
  ])('one started with $args is named with its setting and what to do', async ({ args, words }) => {
    expect(await refusalOf((await redisServer(...args)).url)).toEqual(refusal(...words));
  });

  test('a wrong password is told as such, without the password', async () => {
    const server = await redisServer('--requirepass', 'secret');
    const error = await refusalOf(withUser(server, 'default', 'wrong-one'));
    expect(error).toEqual(refusal('does not take the user name and password'));
    expect(String(error)).not.toContain('wrong-one');
    expect(await refusalOf(withUser(server, 'default', 'secret'))).toBeUndefined();
  });

  test('no password is accepted on this machine only', async () => {
    expect(await refusalOf('redis://redis.example:6379')).toEqual(refusal('no password'));
    expect(await refusalOf('redis://user@10.0.0.1')).toEqual(refusal('no password'));
    expect(await refusalOf('http://127.0.0.1')).toEqual(refusal('form redis://'));
  });

  test('one that is not there, or has no such database, is refused at once with the reason', async () => {
    expect(await refusalOf(`redis://127.0.0.1:${await freePort()}`)).toEqual(refusal('ECONNREFUSED'));
    expect(await refusalOf(`${(await redisServer()).url}?db=999`)).toEqual(refusal('DB index'));
  });

  test.each([
    { fsync: 'everysec', warned: true },
    { fsync: 'always', warned: false },
  ])('one with appendfsync $fsync is taken, and what it may lose is told: $warned', async ({ fsync, warned }) => {
    const { url } = await redisServer('--appendfsync', fsync);
    const warnings: string[] = [];
    const logger = { info: () => {}, warn: (_: object, text: string) => void warnings.push(text), error: () => {} };
    await (await openRedisStorage({ url, logger })).close();
    expect(warnings.some((text) => text.includes(`appendfsync ${fsync}`))).toBe(warned);
  });

  test('one without persistence is taken by who asks for it', async () => {
    const server = await redisServer('--appendonly', 'no');
    await (await openOn(server, { allowNoPersistence: true })).probe();
  });

  test('a store of a newer version is refused and left as it is', async () => {
    const server = await redisServer();
    await server.command('SET', 'cce:schema', '9999');
    expect(await refusalOf(server.url)).toMatchObject({
      code: 'storage_newer',
      message: expect.stringContaining('9999'),
    });
    expect(await server.command('KEYS', '*')).toEqual(['cce:schema']);
  });

  test('a user whose rights suffice is taken, and one whose rights do not is told what to allow', async () => {
    const server = await redisServer();
    const rights = ['~cce:*', '&cce:bell', '+@all', '-@admin', '-@dangerous', '+info'];
    await server.command('ACL', 'SETUSER', 'service', 'on', '>secret', ...rights);
    await server.command('ACL', 'SETUSER', 'reader', 'on', '>secret', '~cce:*', '+@read', '+@connection', '+info');
    const storage = await openOn({ url: withUser(server, 'service', 'secret') });
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    await storage.append(finishOf(record, 2));
    expect(await refusalOf(withUser(server, 'reader', 'secret'))).toEqual(refusal('may not do this', 'ACL SETUSER'));
  });
});

describe.runIf(has('redis'))('a Redis that stops taking writes', () => {
  test('a full one refuses what is new with the reason, takes the end of a run, and what is stored stays readable', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    await server.command('CONFIG', 'SET', 'maxmemory', 1);
    const full = refusal('its memory is full .maxmemory');
    await expect(storage.probe()).rejects.toEqual(full);
    const [creation] = await Promise.allSettled([storage.createExecution(recordOf(), eventOf(1, 'a private word'))]);
    expect(creation).toMatchObject({ status: 'rejected', reason: full });
    expect(inspect(creation, { depth: null, showHidden: true })).not.toContain('a private word');
    await expect(storage.append({ executionId, fence: 1, events: [eventOf(2)] })).rejects.toEqual(full);
    await storage.append(finishOf(record, 2));
    const page = await storage.readEvents(executionId, { after: 0, limit: 9, maxBytes: 1_000 });
    expect(page).toMatchObject({ lastSeq: 2, finished: true, events: [{ seq: 1 }, { seq: 2 }] });
    await storage.deleteExecution('local', executionId);
    await server.command('CONFIG', 'SET', 'maxmemory', 0);
    await storage.probe();
  });

  test.runIf(has('mount'))('one whose disk is full refuses writes with the reason, until there is room', async () => {
    const { path } = smallDisk(4);
    const ballast = join(path, 'ballast');
    await writeFile(ballast, Buffer.alloc(2 * 1024 * 1024));
    const storage = await openOn(await redisServer('--dir', path, '--appendfsync', 'everysec'));
    const { record } = await storage.createExecution(recordOf(), eventOf(1));
    const executionId = record.execution.id;
    let seq = 1;
    const refused = await waitUntil('the disk to be full', async () => {
      const event = eventOf(seq + 1, 'x'.repeat(300_000));
      const [result] = await Promise.allSettled([storage.append({ executionId, fence: 1, events: [event] })]);
      if (result?.status === 'fulfilled') seq += 1;
      return result?.status === 'rejected' && result.reason;
    });
    expect(refused).toEqual(refusal('cannot write to its disk'));
    await rm(ballast);
    await waitUntil('writes to be taken again', async () => {
      const [result] = await Promise.allSettled([storage.probe()]);
      return result?.status === 'fulfilled';
    });
    await storage.append(finishOf(record, seq + 1));
  });

  test('a replica refuses writes with the reason', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    await server.command('REPLICAOF', '127.0.0.1', await freePort());
    await expect(storage.probe()).rejects.toEqual(refusal('read-only replica'));
    await expect(storage.createExecution(recordOf(), eventOf(1))).rejects.toEqual(refusal('read-only replica'));
  });

  test('another program’s value under a key of ours is named, and the write it meets leaves nothing behind', async () => {
    const server = await redisServer();
    const storage = await openOn(server);
    const record = recordOf();
    const { id } = record.execution;
    await server.command('SET', 'cce:unfinished', 'x');
    const words = ['cce:unfinished holds a string where this service keeps a zset', 'another database number'];
    await expect(storage.createExecution(record, eventOf(1))).rejects.toEqual(refusal(...words));
    await server.command('DEL', 'cce:unfinished');
    await storage.createExecution(record, eventOf(1));
    await server.command('SADD', 'cce:index:local:outcome:succeeded', 'x');
    await expect(storage.append(finishOf(record, 2))).rejects.toEqual(refusal('cce:index:local:outcome:succeeded'));
    expect(await storage.getExecution('local', id)).toEqual(record);
    expect(await server.command('XLEN', `cce:log:${id}`)).toBe(1);
    await server.command('SET', 'cce:service-keys', 'x');
    await expect(storage.getKey('a')).rejects.toEqual(refusal('cce:service-keys holds a string'));
    await server.command('SET', 'cce:denied-tokens:acme', 'x');
    const denied = 'cce:denied-tokens:acme holds a value of the wrong type';
    await expect(storage.isTokenDenied('acme', 'a')).rejects.toEqual(refusal(denied));
  });
});

test.runIf(has('redisTls'))('over TLS the certificate is checked', async () => {
  const folder = await temporaryFolder();
  const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate],
  ]);
  const port = await freePort();
  await redisServer(
    ...['--tls-port', String(port), '--tls-cert-file', certificate, '--tls-key-file', key],
    ...['--tls-ca-cert-file', certificate, '--tls-auth-clients', 'no'],
  );
  const url = `rediss://localhost:${port}/3`;
  expect(await refusalOf(url)).toEqual(refusal('self-signed certificate'));
  const usual = getCACertificates('default');
  onTestFinished(() => setDefaultCACertificates(usual));
  setDefaultCACertificates([...usual, await readFile(certificate, 'utf8')]);
  await (await openOn({ url })).probe();
  expect(await refusalOf(url.replace('localhost', '127.0.0.1'))).toEqual(refusal('IP: 127.0.0.1'));
});
