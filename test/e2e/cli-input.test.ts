import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { heldPipe } from '../support/held-pipe.ts';
import { machine } from '../support/program.ts';

it.each([
  ['stdin that is no text', ['run'], { input: Buffer.from([0x61, 0xed, 0xa0, 0x80, 0xff]) }, /not valid UTF-8/],
  ['a prompt file without end', ['run', '-f', '/dev/zero'], {}, /too long; at most 4194304/],
  ['a prompt file that is a folder', ['run', '-f', '.'], {}, /--prompt-file \. cannot be read: EISDIR/],
  ['a prompt file that is missing', ['run', '-f', 'no'], {}, /--prompt-file no cannot be read: ENOENT/],
  ['two prompts', ['run', '-f', 'p', 'hi'], {}, /two prompts/],
  ['two system prompts', ['run', '--system', 'a', '--system-file', 'b', 'hi'], {}, /cannot be used with/],
  ['two places', ['run', '--fresh', '--dir', '/tmp', 'hi'], {}, /cannot be used with/],
  ['a duration without unit', ['run', '--time-limit', '90', 'hi'], {}, /such as 90s, 5m or 1h30m/],
  ['a variable that steers', ['run', '--env', 'LD_PRELOAD=x', 'hi'], {}, /--env \(LD_PRELOAD\) is refused/],
  ['a permission mode that is none', ['run', '--permission-mode', 'yolo', 'hi'], {}, /--permission-mode/],
])('%s is refused with what to do', async (_title, args, options, words) => {
  const { run, model } = await machine();
  const { code, stdout, stderr } = await run(args, options);
  expect(stderr).toMatch(words);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(model.requests).toEqual([]);
});

it('a schema that is not JSON, or no object, is refused', async () => {
  const { run, work } = await machine();
  await writeFile(join(work, 'a.json'), '{"type":');
  await writeFile(join(work, 'b.json'), '[1]');
  expect(await run(['run', 'hi', '--schema', 'a.json'])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--schema a\.json is not JSON/),
  });
  expect(await run(['run', 'hi', '--schema', 'b.json'])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no JSON object/),
  });
});

it('a silent pipe that was inherited does not keep a prompt waiting', async () => {
  const { run, folder } = await machine();
  const pipe = await heldPipe(folder);
  expect(await run(['run', '-q', 'hi'], { wrap: pipe.asStdin })).toMatchObject({ code: 0, stdout: 'Hello\n' });
});

it('a retry never empties a directory that is not fresh', async () => {
  const { run, work, model } = await machine([{ kind: 'http_error', status: 529, type: 'overloaded_error' }]);
  await writeFile(join(work, 'precious.txt'), 'mine');
  const own = await run(['run', 'hi', '--retry', '1']);
  expect(own).toMatchObject({ code: 2, stderr: expect.stringMatching(/needs --fresh/) });
  const session = '00000000-0000-4000-8000-000000000000';
  expect((await run(['run', 'hi', '--retry', '1', '--fresh', '--session', session])).code).toBe(2);
  expect(model.requests).toEqual([]);
  expect(await readdir(work)).toEqual(['precious.txt']);
});

it('the options of run reach the model and the record', async () => {
  const { run, work, model } = await machine();
  await writeFile(join(work, 'more.txt'), 'Answer in rhyme.');
  const options = [
    '--system',
    'You are a poet.',
    '--append-system-file',
    'more.txt',
    '--model',
    'haiku',
    '--tools',
    '',
  ];
  const { code } = await run(['run', 'hi', ...options, '--time-limit', '1m30s', '--env', 'COLOUR=blue']);
  expect(code).toBe(0);
  const [request] = model.requests.filter(({ path }) => path.startsWith('/v1/messages?') || path === '/v1/messages');
  expect(JSON.stringify(request?.body)).toMatch(/You are a poet\.[\s\S]*Answer in rhyme\./);
  expect(request?.body).toMatchObject({ model: expect.stringMatching(/haiku/) });
  const shown = JSON.parse((await run(['show', 'last', '--json'])).stdout);
  expect(shown).toMatchObject({ model: 'haiku', timeLimit: { ms: 90_000, source: 'request' } });
});

it('the same idempotency key runs once, and another request under it is refused', async () => {
  const { run, model } = await machine();
  const again = () => run(['run', 'hi', '--idempotency-key', 'k1']);
  expect(await again()).toMatchObject({ code: 0, stdout: 'Hello\n' });
  const asked = model.requests.length;
  expect(await again()).toMatchObject({ code: 0, stdout: 'Hello\n' });
  expect(model.requests.length).toBe(asked);
  const other = await run(['run', 'something else', '--idempotency-key', 'k1']);
  expect(other).toMatchObject({ code: 2, stderr: expect.stringMatching(/used before/) });
});
