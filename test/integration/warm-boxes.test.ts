import { chownSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { has } from '../support/capabilities.ts';
import { type Executor, executor } from '../support/executor.ts';
import { waitUntil } from '../support/processes.ts';

const WRITES = ({ body }: { body: unknown }) =>
  JSON.stringify(body).includes('tool_result')
    ? { kind: 'text' as const, text: 'Done' }
    : {
        kind: 'tool_use' as const,
        tools: [{ name: 'Bash', input: { command: 'echo here > made.txt; pwd', description: 'x' } }],
      };

const LEVELS = [...(has('landlock') ? (['L2'] as const) : []), ...(has('bubblewrap') ? (['L3'] as const) : [])];

const waiting = ({ service }: Executor, workspace?: string): string | undefined =>
  service.warm.ready().find((spare) => spare.workspace === workspace)?.runId;

/** Runs in a workspace, and says which process served it. */
async function served(by: Executor, workspace?: string): Promise<string> {
  const { execution } = await by.run({
    prompt: 'x',
    allowedTools: ['Bash'],
    ...(workspace === undefined ? {} : { workspace }),
  });
  expect(execution.outcome).toMatchObject({ kind: 'succeeded', exitCode: 0 });
  const record = await by.service.storage.getExecution('local', execution.id);
  expect(existsSync(join(record?.directory ?? '', 'made.txt'))).toBe(true);
  return record?.runId ?? '';
}

describe.each(LEVELS)('processes that wait in boxes of %s', (level) => {
  test.runIf(has('claude'))(
    'serve fresh workspaces, and the named one that their box shows, and no other',
    async () => {
      const by = await executor({ script: WRITES, warmPool: 1, env: { CC_ISOLATION: level } });
      await served(by);
      const first = await waitUntil('one waits', () => waiting(by));
      expect(await served(by)).toBe(first);
      await served(by, 'shop');
      const named = await waitUntil('one waits for the workspace', () => waiting(by, 'shop'));
      expect(await served(by, 'other')).not.toBe(named);
      await served(by, 'shop');
      const second = await waitUntil('one waits for it again', () => waiting(by, 'shop'));
      expect(await served(by, 'shop')).toBe(second);
      await waitUntil('and once more', () => waiting(by, 'shop'));
      const folder = join(by.folder, 'data/workspaces/local/shop');
      rmSync(folder, { recursive: true });
      // Another one in between, so that the folder does not get the number it had.
      for (const path of [`${folder}-between`, folder]) {
        mkdirSync(path, { mode: 0o700 });
        if (has('root')) chownSync(path, 65_534, 65_534);
      }
      await served(by, 'shop');
    },
  );
});
