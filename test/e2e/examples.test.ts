import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { builtServer } from '../support/built-server.ts';

const EXAMPLES = join(import.meta.dirname, '..', '..', 'examples');

async function run(
  file: string,
  args: string[],
  env: Record<string, string>,
): Promise<{ code: number; output: string }> {
  const child = spawn(file, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code] = await once(child, 'close');
  return { code, output };
}

test('the quick start for curl runs as it stands', async () => {
  const { url, key } = await builtServer();
  const { code, output } = await run('sh', [join(EXAMPLES, 'quick-start.sh')], { CC_URL: url, CC_API_KEY: key });
  expect(output).toMatch(
    /"state":"finished".*\nevent: execution\.finished\n.*one execution: .*remember this\n.*done\n/s,
  );
  expect(code).toBe(0);
});

test('the example for TypeScript prints the text as it comes, and how it ended', async () => {
  const { url, key } = await builtServer();
  const { output } = await run(process.execPath, [join(EXAMPLES, 'follow.ts')], { CC_URL: url, CC_API_KEY: key });
  expect(output).toBe('Hello\nsucceeded, 25 tokens\n');
});

test('the example for a page follows a task to its end, and says when it is refused', async () => {
  const { url, key } = await builtServer();
  const { runTask } = await import(join(EXAMPLES, 'browser.js'));
  const seqs: number[] = [];
  const onEvent = ({ seq }: { seq: number }): void => void seqs.push(seq);
  const execution = await runTask({ url, key, prompt: 'Say hello', onEvent });
  expect(execution).toMatchObject({ outcome: { kind: 'succeeded' }, lastSeq: seqs.length });
  expect(seqs).toEqual(seqs.map((_, index) => index + 1));
  await expect(runTask({ url, key: 'wrong', prompt: 'x', onEvent })).rejects.toThrow('refused the page (4401)');
  expect(await readFile(join(EXAMPLES, 'browser.html'), 'utf8')).toContain("from './browser.js'");
});
