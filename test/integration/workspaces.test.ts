import { writeFileSync } from 'node:fs';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { extract, pack } from 'tar-stream';
import { expect, it } from 'vitest';
import type { OpenedFile, Workspaces, WorkspacesOptions } from '../../src/workspaces/workspaces.ts';
import { createWorkspaces } from '../../src/workspaces/workspaces.ts';
import { has } from '../support/capabilities.ts';
import { waitUntil } from '../support/processes.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

async function start(options: Partial<WorkspacesOptions> = {}): Promise<{ workspaces: Workspaces; folder: string }> {
  const data = await temporaryFolder();
  const workspaces = createWorkspaces({
    folderOf: (tenant, name) => join(data, 'workspaces', tenant, name),
    lent: {},
    quotaBytes: 10_000_000,
    owner: undefined,
    ...options,
  });
  return { workspaces, folder: join(data, 'workspaces/local/shop') };
}

const from = (content: string | Buffer): Readable => Readable.from([Buffer.from(content)], { objectMode: false });

function put(workspaces: Workspaces, path: string, content: string | Buffer = 'x') {
  return workspaces.write('local', 'shop', { path, content: from(content) });
}

async function read(opening: Promise<OpenedFile>): Promise<string> {
  const opened = await opening;
  return opened.kind === 'file' ? text(opened.content) : 'a directory';
}

async function entriesOf(archive: Readable) {
  const entries: { name: string; type: string; mode: number; linkname: string | null; content: string }[] = [];
  const extraction = archive.pipe(extract());
  for await (const entry of extraction) {
    const { name, type, mode, linkname } = entry.header;
    const chunks: Buffer[] = [];
    for await (const chunk of entry) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
    entries.push({ name, type, mode, linkname, content: Buffer.concat(chunks).toString() });
  }
  return entries;
}

it('a file is written with the folders on the way and read back, and its workspace is made for its owner alone', async () => {
  const { workspaces, folder } = await start();
  expect(await put(workspaces, 'src/été/a.txt', 'hello')).toEqual({
    created: true,
    file: { path: 'src/été/a.txt', size: 5 },
  });
  expect(await put(workspaces, 'src/été/a.txt', 'again!')).toMatchObject({ created: false, file: { size: 6 } });
  const opened = await workspaces.open('local', 'shop', 'src/été/a.txt');
  expect(opened).toMatchObject({ kind: 'file', size: 6 });
  expect(await read(Promise.resolve(opened))).toBe('again!');
  const modes = ['', 'src', 'src/été/a.txt'].map(async (path) => (await stat(join(folder, path))).mode & 0o777);
  expect(await Promise.all(modes)).toEqual([0o700, 0o755, 0o644]);
});

it('an empty file and one of many chunks come back as they were', async () => {
  const { workspaces } = await start();
  const large = Buffer.alloc(1_000_001, 'abcdefg');
  await put(workspaces, 'empty', '');
  await put(workspaces, 'large', large);
  expect(await read(workspaces.open('local', 'shop', 'empty'))).toBe('');
  const opened = await workspaces.open('local', 'shop', 'large');
  if (opened.kind !== 'file') throw new Error('not a file');
  expect((await buffer(opened.content)).equals(large)).toBe(true);
});

it('a folder is listed in byte order, links as links, the workspace itself by the empty path', async () => {
  const { workspaces, folder } = await start();
  for (const path of ['b', 'B', 'é', 'a.d/x']) await put(workspaces, path);
  const modified = new Date('2020-02-29T12:00:00.250Z');
  await utimes(join(folder, 'B'), modified, modified);
  await symlink('/etc/passwd', join(folder, 'link'));
  await writeFile(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff])]), '');
  const opened = await workspaces.open('local', 'shop', '');
  if (opened.kind !== 'directory') throw new Error('not a folder');
  const { listing } = opened;
  expect(listing.entries.map(({ name, kind, size }) => `${name} ${kind} ${size}`)).toEqual([
    'B file 1',
    'a.d directory 0',
    'b file 1',
    'link link 0',
    'é file 1',
    '\uFFFD file 0',
  ]);
  expect(listing).toMatchObject({ path: '', truncated: false });
  expect(listing.entries[0]?.modifiedAt).toBe('2020-02-29T12:00:00.250Z');
  expect(await workspaces.open('local', 'shop', 'a.d/')).toMatchObject({ listing: { path: 'a.d' } });
});

it('of a folder with more than 10,000 entries that many are listed', async () => {
  const { workspaces, folder } = await start();
  await mkdir(folder, { recursive: true });
  for (let made = 0; made < 10_001; made += 1) writeFileSync(join(folder, `${made}`), '');
  const opened = await workspaces.open('local', 'shop', '');
  expect(opened.kind === 'directory' && [opened.listing.entries.length, opened.listing.truncated]).toEqual([
    10_000,
    true,
  ]);
});

it.each([
  ['is absolute', '/etc/passwd'],
  ['is absolute', '/'],
  ['has the part ..', 'a/../b'],
  ['has the part ..', '..'],
  ['has the part .;', './a'],
  ['has an empty part', 'a//b'],
  ['holds a NUL', 'a\0b'],
  ['holds a lone surrogate', 'a\uD800'],
  ['has a part that is longer than 255 bytes', 'n'.repeat(256)],
  ['has a part that is longer than 255 bytes', 'é'.repeat(128)],
  ['is longer than 4096 bytes', 'n/'.repeat(2_049)],
  ['has more than 128 parts', 'n/'.repeat(129)],
])('a path that %s is refused (%#)', async (why, path) => {
  const { workspaces } = await start();
  await put(workspaces, 'a');
  const message = expect.stringContaining(why);
  const refusal = { code: 'invalid_request', message, data: { errors: [{ path: 'path' }] } };
  await expect(workspaces.open('local', 'shop', path)).rejects.toMatchObject(refusal);
  await expect(put(workspaces, path)).rejects.toMatchObject(refusal);
});

it('a backslash is a character like any other, and a file has no path that ends with a slash', async () => {
  const { workspaces, folder } = await start();
  await put(workspaces, '..\\a');
  expect(await readdir(folder)).toEqual(['..\\a']);
  for (const path of ['', 'a/']) await expect(put(workspaces, path)).rejects.toMatchObject({ code: 'invalid_request' });
});

it('workspaces and files that do not exist, and names of another form, are not found', async () => {
  const { workspaces } = await start();
  for (const name of ['nope', 'lent:nope', 'lent:toString', '..', 'local:/etc', 'a/b']) {
    await expect(workspaces.open('local', name, '')).rejects.toMatchObject({ code: 'not_found' });
    await expect(workspaces.pack('local', name)).rejects.toMatchObject({ code: 'not_found' });
  }
  await expect(workspaces.write('local', '..', { path: 'a', content: from('x') })).rejects.toMatchObject({
    code: 'not_found',
  });
  await put(workspaces, 'a');
  await expect(workspaces.open('local', 'shop', 'b/c')).rejects.toMatchObject({ code: 'not_found' });
  await expect(workspaces.open('other', 'shop', 'a')).rejects.toMatchObject({ code: 'not_found' });
});

it('what is no folder on the way, and a folder in the place of a file, are conflicts', async () => {
  const { workspaces, folder } = await start();
  await put(workspaces, 'file');
  await put(workspaces, 'folder/x');
  await expect(put(workspaces, 'file/x')).rejects.toMatchObject({ code: 'conflict', message: 'file is not a folder' });
  await expect(put(workspaces, 'folder')).rejects.toMatchObject({ code: 'conflict', message: 'folder is a folder' });
  expect(await readdir(folder)).toEqual(['file', 'folder']);
});

it('a lent directory is read and written, and never made', async () => {
  const app = await temporaryFolder();
  const { workspaces } = await start({ lent: { local: { app, gone: join(app, 'gone') } } });
  await workspaces.write('local', 'lent:app', { path: 'a', content: from('1') });
  expect(await readFile(join(app, 'a'), 'utf8')).toBe('1');
  expect(await read(workspaces.open('local', 'lent:app', 'a'))).toBe('1');
  const late = workspaces.write('local', 'lent:gone', { path: 'a', content: from('1') });
  await expect(late).rejects.toMatchObject({ code: 'not_found' });
  expect(await readdir(app)).toEqual(['a']);
});

it('what would go over the quota is refused while it comes, and leaves nothing behind', async () => {
  const { workspaces, folder } = await start({ quotaBytes: 1_000 });
  await put(workspaces, 'a', Buffer.alloc(600));
  await expect(put(workspaces, 'b', Buffer.alloc(401))).rejects.toMatchObject({ code: 'payload_too_large' });
  expect(await readdir(folder)).toEqual(['a']);
  await put(workspaces, 'b', Buffer.alloc(400));
  await truncate(join(folder, 'a'), 601);
  await expect(put(workspaces, 'c', '')).rejects.toMatchObject({ code: 'payload_too_large' });
});

it('uploads that go on at the same time share the quota, and what has ended no longer counts', async () => {
  const { workspaces, folder } = await start({ quotaBytes: 1_000 });
  const slow = new PassThrough();
  const first = workspaces.write('local', 'shop', { path: 'a', content: slow });
  const second = new PassThrough();
  const other = workspaces.write('local', 'shop', { path: 'b', content: second });
  await waitUntil('both uploads', async () => (await readdir(folder).catch(() => [])).length === 2);
  slow.write(Buffer.alloc(600));
  await waitUntil('the first bytes', async () => {
    const sizes = (await readdir(folder)).map(async (name) => (await stat(join(folder, name))).size);
    return (await Promise.all(sizes)).includes(600);
  });
  second.end(Buffer.alloc(600));
  await expect(other).rejects.toMatchObject({ code: 'payload_too_large' });
  slow.destroy();
  await expect(first).rejects.toMatchObject({ code: 'invalid_request' });
  expect(await put(workspaces, 'c', Buffer.alloc(1_000))).toMatchObject({ created: true });
});

it('an upload that brings nothing for too long is given up, and one that breaks off too; nothing is left', async () => {
  const { workspaces, folder } = await start({ uploadIdleMs: 50 });
  const idle = new PassThrough();
  idle.write('some');
  const waiting = workspaces.write('local', 'shop', { path: 'a', content: idle });
  await expect(waiting).rejects.toMatchObject({ code: 'request_timeout' });
  expect(idle.destroyed).toBe(false);
  const broken = new PassThrough();
  broken.write('some');
  broken.destroy(new Error('the caller went away'));
  const breaking = workspaces.write('local', 'shop', { path: 'a', content: broken });
  await expect(breaking).rejects.toMatchObject({
    code: 'invalid_request',
    message: expect.stringContaining('broke off'),
  });
  await expect(workspaces.unpack('local', 'shop', new PassThrough())).rejects.toMatchObject({
    code: 'request_timeout',
  });
  expect(await readdir(folder)).toEqual([]);
});

it('a workspace is packed in order, with modes, links as links, and long and foreign names', async () => {
  const { workspaces, folder } = await start();
  const long = `${'d'.repeat(200)}/${'é'.repeat(100)}`;
  for (const path of ['b/run.sh', 'a', long]) await put(workspaces, path, path);
  await chmod(join(folder, 'b/run.sh'), 0o4750);
  await chmod(join(folder, 'a'), 0o400);
  await symlink('../outside', join(folder, 'b/link'));
  const entries = await entriesOf(await workspaces.pack('local', 'shop'));
  expect(entries.map(({ name, type, mode }) => `${name} ${type} ${mode.toString(8)}`)).toEqual([
    'a file 400',
    'b/ directory 755',
    'b/link symlink 777',
    'b/run.sh file 750',
    `${'d'.repeat(200)}/ directory 755`,
    `${long} file 644`,
  ]);
  expect(entries.map(({ content }) => content)).toEqual(['a', '', '', 'b/run.sh', '', long]);
  expect(entries[2]?.linkname).toBe('../outside');
});

it('times beyond any calendar are shown and packed as the nearest that can be', async () => {
  const { workspaces, folder } = await start();
  for (const path of ['early', 'late']) await put(workspaces, path);
  await utimes(join(folder, 'early'), -2_000_000_000, -2_000_000_000);
  await utimes(join(folder, 'late'), 15_000_000_000, 15_000_000_000);
  expect((await entriesOf(await workspaces.pack('local', 'shop'))).map(({ name }) => name)).toEqual(['early', 'late']);
  const opened = await workspaces.open('local', 'shop', '');
  const times = opened.kind === 'directory' ? opened.listing.entries.map(({ modifiedAt }) => modifiedAt) : [];
  expect(times.filter((time) => !/^\d{4}-\d\d-\d\dT/.test(time))).toEqual([]);
});

it('a file that shrinks while it is read fails the reader, and is filled up in an archive', async () => {
  const { workspaces, folder } = await start({ quotaBytes: 100_000_000 });
  await put(workspaces, 'file', Buffer.alloc(10_000_000, 'x'));
  const opened = await workspaces.open('local', 'shop', 'file');
  const archive = await workspaces.pack('local', 'shop');
  await waitUntil('the archive has begun', () => archive.readableLength > 0);
  await truncate(join(folder, 'file'), 10);
  await expect(read(Promise.resolve(opened))).rejects.toMatchObject({ code: 'conflict' });
  const [entry, ...more] = await entriesOf(archive);
  expect([entry?.content.length, entry?.content.at(-1), more]).toEqual([10_000_000, '\0', []]);
});

it('what one workspace packs another unpacks', async () => {
  const { workspaces, folder } = await start();
  const large = Buffer.alloc(300_000, 'large');
  await put(workspaces, 'a/b/large', large);
  await put(workspaces, 'a/run', 'run');
  await put(workspaces, 'empty', '');
  await chmod(join(folder, 'a/run'), 0o777);
  await symlink('b/large', join(folder, 'a/link'));
  const counts = await workspaces.unpack('local', 'copy', await workspaces.pack('local', 'shop'));
  expect(counts).toEqual({ files: 4, directories: 2, bytes: 300_003 });
  const copy = join(folder, '../copy');
  expect((await readFile(join(copy, 'a/b/large'))).equals(large)).toBe(true);
  expect(await readlink(join(copy, 'a/link'))).toBe('b/large');
  expect((await stat(join(copy, 'a/run'))).mode & 0o777).toBe(0o755);
  expect((await stat(join(copy, 'empty'))).size).toBe(0);
  expect((await stat(copy)).mode & 0o777).toBe(0o700);
});

it('an archive replaces files and keeps folders, whatever form its names have', async () => {
  const { workspaces, folder } = await start();
  await put(workspaces, 'a/old', 'old');
  await put(workspaces, 'a/new', 'old');
  const archive = pack();
  archive.entry({ name: './', type: 'directory' });
  archive.entry({ name: './a/', type: 'directory', mode: 0o700 });
  archive.entry({ name: './a/new', mode: 0o600 }, 'new');
  archive.finalize();
  expect(await workspaces.unpack('local', 'shop', Readable.from(archive))).toEqual({
    files: 1,
    directories: 1,
    bytes: 3,
  });
  expect([await read(workspaces.open('local', 'shop', 'a/new')), await readdir(join(folder, 'a'))]).toEqual([
    'new',
    ['new', 'old'],
  ]);
  expect((await stat(join(folder, 'a/new'))).mode & 0o777).toBe(0o600);
});

it.runIf(has('root'))('as root, what is written belongs to the owner of the workspace', async () => {
  const app = await temporaryFolder();
  const lent = join(app, 'lent');
  await mkdir(lent);
  await chown(lent, 4_321, 4_322);
  const { workspaces, folder } = await start({ owner: { uid: 65_534, gid: 65_533 }, lent: { local: { lent } } });
  await put(workspaces, 'a/b/file');
  const archive = pack();
  archive.entry({ name: 'c/file' }, 'x');
  archive.finalize();
  await workspaces.unpack('local', 'shop', Readable.from(archive));
  await workspaces.write('local', 'lent:lent', { path: 'a/file', content: from('x') });
  const paths = ['', 'a', 'a/b', 'a/b/file', 'c', 'c/file'].map((path) => join(folder, path));
  const owners = [...paths, join(lent, 'a'), join(lent, 'a/file')].map(async (path) => {
    const { uid, gid } = await lstat(path);
    return `${uid}:${gid}`;
  });
  expect(await Promise.all(owners)).toEqual([...Array(6).fill('65534:65533'), '4321:4322', '4321:4322']);
});
