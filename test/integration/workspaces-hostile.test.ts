import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { chown, link, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { extract, type Header, pack } from 'tar-stream';
import { expect, it, onTestFinished } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import type { Workspaces } from '../../src/workspaces/workspaces.ts';
import { createWorkspaces } from '../../src/workspaces/workspaces.ts';
import { has } from '../support/capabilities.ts';
import { waitUntil } from '../support/processes.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Place {
  workspaces: Workspaces;
  /** The workspace `shop`, which exists. */
  folder: string;
  /** A folder beside the data, with the file `secret`, which nothing may reach. */
  outside: string;
}

/** The test fails where a file or directory of the workspace is still open at its end. */
async function start(quotaBytes = 10_000_000): Promise<Place> {
  const root = await temporaryFolder();
  const [folder, outside] = [join(root, 'data/local/shop'), join(root, 'outside')];
  await mkdir(folder, { recursive: true });
  await mkdir(outside);
  await writeFile(join(outside, 'secret'), 'secret');
  if (has('linux')) {
    onTestFinished(async () => {
      await waitUntil('no open files', () => openBelow(root).length === 0);
    });
  }
  const folderOf = (tenant: string, name: string): string => join(root, 'data', tenant, name);
  return { workspaces: createWorkspaces({ folderOf, lent: {}, quotaBytes, owner: undefined }), folder, outside };
}

function openBelow(root: string): string[] {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // The one that the listing itself had open.
    }
  });
  return targets.filter((target) => target.startsWith(root));
}

const from = (...chunks: (string | Buffer)[]): Readable => Readable.from(chunks.map((chunk) => Buffer.from(chunk)));
const put = ({ workspaces }: Place, path: string) =>
  workspaces.write('local', 'shop', { path, content: from('written') });
const unpack = ({ workspaces }: Place, archive: Readable) => workspaces.unpack('local', 'shop', archive);

type Wanted = Partial<Header> & { name: string };

/** The bytes of an archive; each entry's content is its own name. */
async function tar(...entries: Wanted[]): Promise<Buffer> {
  const archive = pack();
  for (const entry of entries) {
    if (entry.type === undefined || entry.type === 'file') archive.entry(entry, entry.name);
    else archive.entry(entry);
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A header alone, which may say anything. */
async function header(entry: Wanted): Promise<Buffer> {
  const archive = pack();
  archive.entry(entry).on('error', () => {});
  for await (const chunk of archive) if (Buffer.isBuffer(chunk)) return chunk;
  throw new Error('no header');
}

const END = Buffer.alloc(1_024);

it('a link is not read, written through, listed or walked through, wherever it is in the path', async () => {
  const place = await start();
  const { workspaces, folder, outside } = place;
  await symlink(join(outside, 'secret'), join(folder, 'file'));
  await symlink(outside, join(folder, 'dir'));
  await symlink('.', join(folder, 'self'));
  for (const path of ['file', 'dir', 'dir/', 'dir/secret', 'self/file']) {
    const refusal = { code: 'conflict', message: expect.stringContaining('is a link, and links are not followed') };
    await expect(workspaces.open('local', 'shop', path)).rejects.toMatchObject(refusal);
  }
  for (const path of ['dir/secret', 'dir/new', 'dir/new/deeper', 'self/a']) {
    await expect(put(place, path)).rejects.toMatchObject({ code: 'conflict' });
  }
  expect(await readdir(outside)).toEqual(['secret']);
  expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('secret');
});

it('a link in the place of a file is replaced, and what it links to stays as it is', async () => {
  const place = await start();
  await symlink(join(place.outside, 'secret'), join(place.folder, 'file'));
  expect(await put(place, 'file')).toMatchObject({ created: false });
  expect((await lstat(join(place.folder, 'file'))).isFile()).toBe(true);
  expect(await readFile(join(place.outside, 'secret'), 'utf8')).toBe('secret');
});

it('a workspace that is itself a link is refused', async () => {
  const place = await start();
  await rm(place.folder, { recursive: true });
  await symlink(place.outside, place.folder);
  await expect(place.workspaces.open('local', 'shop', 'secret')).rejects.toMatchObject({ code: 'conflict' });
  await expect(put(place, 'new')).rejects.toMatchObject({ code: 'conflict' });
  expect(await readdir(place.outside)).toEqual(['secret']);
});

/** Puts a link to outside and a directory at `dir` in turn, until told to stop. */
async function swap({ folder, outside }: Place, going: () => boolean): Promise<number> {
  const [dir, real] = [join(folder, 'dir'), join(folder, 'real')];
  let swaps = 0;
  for (; going(); swaps += 1) {
    await rm(dir, { recursive: true, force: true }).catch(existsIsFine);
    await symlink(outside, dir).catch(existsIsFine);
    await rm(dir, { recursive: true, force: true }).catch(existsIsFine);
    await mkdir(real, { recursive: true });
    await writeFile(join(real, 'secret'), 'inside');
    await rename(real, dir).catch(existsIsFine);
  }
  return swaps;
}

function existsIsFine(error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (!['EEXIST', 'ENOTEMPTY', 'ENOTDIR', 'EISDIR'].includes(String(code))) throw error;
}

it('whoever swaps a directory for a link meanwhile never has anything written or read outside', async () => {
  const place = await start();
  const { workspaces, outside } = place;
  let going = true;
  const seen = new Set<string>();
  const probe = async (): Promise<void> => {
    for (let round = 0; round < 400; round += 1) {
      const results = await Promise.allSettled([
        put(place, 'dir/new'),
        put(place, 'dir/deep/new'),
        workspaces.open('local', 'shop', 'dir').then((opened) => opened.kind),
        workspaces
          .open('local', 'shop', 'dir/secret')
          .then((opened) => (opened.kind === 'file' ? text(opened.content) : '')),
      ]);
      for (const result of results) seen.add(result.status === 'fulfilled' ? 'done' : String(result.reason.code));
      expect(results[3]).not.toEqual({ status: 'fulfilled', value: 'secret' });
    }
  };
  const [swaps] = await Promise.all([
    swap(place, () => going),
    probe().finally(() => {
      going = false;
    }),
  ]);
  expect(swaps).toBeGreaterThan(10);
  expect([...seen].filter((code) => !['done', 'conflict', 'not_found'].includes(code))).toEqual([]);
  expect(seen).toContain('done');
  expect(seen).toContain('conflict');
  expect(await readdir(outside)).toEqual(['secret']);
});

it('a file that is swapped for a link and a FIFO meanwhile is read as the file or not at all', async () => {
  const { workspaces, folder, outside } = await start();
  const [file, next, fifo] = [join(folder, 'file'), join(folder, 'next'), join(folder, 'fifo')];
  makeFifo(fifo);
  let going = true;
  const swapping = async (): Promise<void> => {
    while (going) {
      for (const other of [() => link(fifo, next), () => symlink(join(outside, 'secret'), next)]) {
        await writeFile(next, 'inside');
        await rename(next, file);
        await other();
        await rename(next, file);
      }
    }
  };
  const seen = new Set<string>();
  const probe = async (): Promise<void> => {
    for (let round = 0; round < 1_000; round += 1) {
      const opened = await workspaces.open('local', 'shop', 'file').catch((error: unknown) => error);
      if (opened instanceof ServiceError) seen.add(opened.code);
      else seen.add(await text(contentOf(opened)));
    }
  };
  await Promise.all([
    swapping(),
    probe().finally(() => {
      going = false;
    }),
  ]);
  expect([...seen].filter((what) => !['inside', 'conflict', 'not_found'].includes(what))).toEqual([]);
  expect(seen).toContain('inside');
  expect(seen).toContain('conflict');
});

function makeFifo(path: string): void {
  execFileSync('sh', ['-c', 'mkfifo "$0"', path]);
}

function contentOf(opened: unknown): Readable {
  if (typeof opened === 'object' && opened !== null && 'content' in opened && opened.content instanceof Readable) {
    return opened.content;
  }
  throw opened;
}

it('FIFOs and sockets are no files: reading one ends at once, and packing leaves them out', async () => {
  const { workspaces, folder } = await start();
  makeFifo(join(folder, 'fifo'));
  await writeFile(join(folder, 'file'), 'x');
  const refusal = { code: 'conflict', message: 'fifo is not a file' };
  await expect(workspaces.open('local', 'shop', 'fifo')).rejects.toMatchObject(refusal);
  expect(await workspaces.open('local', 'shop', '')).toMatchObject({
    listing: { entries: [{ kind: 'other' }, { kind: 'file' }] },
  });
  expect(await namesIn(await workspaces.pack('local', 'shop'))).toEqual(['file']);
});

it.runIf(has('root'))('as root, a second name of somebody else’s file is not read', async () => {
  const { workspaces, folder, outside } = await start();
  await link(join(outside, 'secret'), join(folder, 'file'));
  await chown(folder, 65_534, 65_534);
  await expect(workspaces.open('local', 'shop', 'file')).rejects.toMatchObject({ code: 'conflict' });
  expect(await namesIn(await workspaces.pack('local', 'shop'))).toEqual([]);
});

async function namesIn(archive: Readable): Promise<string[]> {
  const names: string[] = [];
  for await (const entry of archive.pipe(extract())) {
    names.push(entry.header.name);
    entry.resume();
  }
  return names;
}

it('a tree that is nested without end is not walked to its end', async () => {
  const place = await start();
  await mkdir(join(place.folder, 'd/'.repeat(129)), { recursive: true });
  await expect(put(place, 'file')).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('nested'),
  });
  const packing = await place.workspaces.pack('local', 'shop');
  await expect(text(packing)).rejects.toMatchObject({ code: 'conflict' });
});

it.runIf(has('linux'))(
  'streams that nobody reads hold little, and give their files back when they are destroyed',
  async () => {
    const { workspaces, folder } = await start();
    await mkdir(join(folder, 'a/b'), { recursive: true });
    for (let made = 0; made < 5_000; made += 1) writeFileSync(join(folder, 'a/b', `${made}`), '');
    await writeFile(join(folder, 'large'), Buffer.alloc(5_000_000));
    const unread = await workspaces.open('local', 'shop', 'large');
    const archive = await workspaces.pack('local', 'shop');
    await waitUntil('a full buffer', () => archive.readableLength > 10_000);
    // What reads goes through everything meanwhile.
    expect(await namesIn(await workspaces.pack('local', 'shop'))).toHaveLength(5_003);
    expect(archive instanceof Writable && archive.writableLength).toBeLessThan(100_000);
    expect(archive.readableLength).toBeLessThan(100_000);
    archive.destroy();
    if (unread.kind === 'file') unread.content.destroy();
    await waitUntil('no open files', () => openBelow(folder).length === 0);
  },
);

it.each<[string, Wanted]>([
  ['climbs out', { name: '../x' }],
  ['climbs out from below', { name: 'a/../../x' }],
  ['climbs out after a dot', { name: './../x' }],
  ['is absolute', { name: '/x' }],
  ['has a part of 4,000 characters', { name: 'n'.repeat(4_000) }],
  ['holds a NUL', { name: 'a', pax: { path: 'a\0b' } }],
  ['is a hard link', { name: 'a', type: 'link', linkname: 'secret' }],
  ['is a character device', { name: 'a', type: 'character-device', devmajor: 1, devminor: 3 }],
  ['is a block device', { name: 'a', type: 'block-device', devmajor: 8, devminor: 0 }],
  ['is a FIFO', { name: 'a', type: 'fifo' }],
  ['is a link to an absolute path', { name: 'a', type: 'symlink', linkname: '/etc/passwd' }],
  ['is a link that leads out', { name: 'a/b', type: 'symlink', linkname: '../../x' }],
  ['is a link that leads out and in again', { name: 'a', type: 'symlink', linkname: '../shop/x' }],
  ['is sparse', { name: 'a', pax: { 'GNU.sparse.major': '1' } }],
  [
    'has a thousand extended fields',
    { name: 'a', pax: Object.fromEntries([...Array(1_000).keys()].map((n) => [n, n])) },
  ],
])('an entry that %s is refused by its name, and what came before it stays', async (_what, entry) => {
  const place = await start();
  const refusal = { code: 'invalid_request', message: expect.stringMatching(/^The entry .+ of the archive /) };
  await expect(unpack(place, from(await tar({ name: 'before' }, entry, { name: 'after' })))).rejects.toMatchObject(
    refusal,
  );
  expect(await readdir(place.folder)).toEqual(['before']);
  expect(await readdir(join(place.folder, '..'))).toEqual(['shop']);
});

it('a link of the archive itself is not followed by the entries after it', async () => {
  const place = await start();
  await symlink(place.outside, join(place.folder, 'dir'));
  for (const entries of [
    [{ name: 'dir/x' }],
    [{ name: 'in', type: 'symlink' as const, linkname: 'real' }, { name: 'in/x' }],
  ]) {
    await expect(unpack(place, from(await tar(...entries)))).rejects.toMatchObject({ code: 'conflict' });
  }
  expect(await readdir(place.outside)).toEqual(['secret']);
});

it('a path of nearly 4,000 characters is unpacked, and packed again', async () => {
  const place = await start();
  const name = `${'n'.repeat(249)}/`.repeat(15) + 'n'.repeat(249);
  expect(await unpack(place, from(await tar({ name })))).toEqual({ files: 1, directories: 0, bytes: 3_999 });
  expect((await namesIn(await place.workspaces.pack('local', 'shop'))).at(-1)).toBe(name);
});

it('an archive that is cut anywhere is refused, in the middle of a file without leaving it', async () => {
  const place = await start();
  const whole = await tar({ name: 'first' }, { name: 'n'.repeat(200) }, { name: 'last' });
  for (const length of [0, 1, 511, 512, 515, 1_024, 1_500, 2_048, 2_600, 3_584, whole.length - 1_024]) {
    const cut = unpack(place, from(whole.subarray(0, length)));
    await expect(cut, `${length} bytes`).rejects.toMatchObject({ code: 'invalid_request' });
  }
  expect((await readdir(place.folder)).filter((name) => name.startsWith('.'))).toEqual([]);
  expect(await unpack(place, from(...[...whole].map((byte) => Buffer.of(byte))))).toMatchObject({ files: 3 });
});

it.each([
  ['text', 'not a tar archive, whatever it says. '.repeat(100), 'is not a tar archive'],
  ['gzip', gzipSync('x'), 'gzip'],
])('%s is not an archive', async (_what, body, why) => {
  const refusal = { code: 'invalid_request', message: expect.stringContaining(why) };
  await expect(unpack(await start(), from(body))).rejects.toMatchObject(refusal);
});

it('a file that claims more than fits is refused at its header, and one that brings more while it comes', async () => {
  const place = await start(1_000);
  const claim = await header({ name: 'huge', size: 1e12 });
  await expect(unpack(place, from(claim, END))).rejects.toMatchObject({ code: 'payload_too_large' });
  const many = await tar(...Array.from({ length: 20 }, (_, index) => ({ name: `${index}`.padStart(100, '0') })));
  await expect(unpack(place, from(many))).rejects.toMatchObject({ code: 'payload_too_large' });
  expect((await readdir(place.folder)).length).toBe(10);
});

it('an archive of more than 100,000 entries is refused', async () => {
  const entry = await header({ name: './', type: 'directory' });
  const block = Buffer.concat(Array<Buffer>(100).fill(entry));
  const archive = (count: number): Readable => Readable.from([...Array<Buffer>(count).fill(block), END]);
  const place = await start();
  expect(await unpack(place, archive(1_000))).toEqual({ files: 0, directories: 0, bytes: 0 });
  await expect(unpack(place, archive(1_001))).rejects.toMatchObject({ code: 'payload_too_large' });
});

it('headers that are followed by headers without end, and zeros without end, are refused', async () => {
  const place = await start(1_000);
  const extended = await tar({ name: 'a', pax: { note: 'x' } });
  const headers = Readable.from([...Array<Buffer>(1_000).fill(extended.subarray(0, 1_024)), extended]);
  const message = expect.stringContaining('its headers are longer');
  await expect(unpack(place, headers)).rejects.toMatchObject({ code: 'invalid_request', message });
  const zeros = Readable.from(Array<Buffer>(1_000).fill(Buffer.alloc(1_000_000)));
  await expect(unpack(place, zeros)).rejects.toMatchObject({ code: 'payload_too_large' });
});

it('where there is no /proc, a link is not followed either', async () => {
  const place = await start();
  const platform = process.platform;
  Object.defineProperty(process, 'platform', { value: 'freebsd' });
  onTestFinished(() => void Object.defineProperty(process, 'platform', { value: platform }));
  await symlink(place.outside, join(place.folder, 'dir'));
  await expect(place.workspaces.open('local', 'shop', 'dir/secret')).rejects.toMatchObject({ code: 'conflict' });
  await expect(put(place, 'dir/new')).rejects.toMatchObject({ code: 'conflict' });
  expect(await put(place, 'é/b/c')).toMatchObject({ created: true });
  expect(await place.workspaces.open('local', 'shop', 'é/b')).toMatchObject({ listing: { entries: [{ name: 'c' }] } });
  expect(await readdir(place.outside)).toEqual(['secret']);
});
