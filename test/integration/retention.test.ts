import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { executor } from '../support/executor.ts';
import { fakeClaude, waitUntil } from '../support/processes.ts';

const CALLER = { tenant: 'local' };

it('logs past the size kept are cut at the next start, oldest first, and a reader of the cut part is told so', async () => {
  const big = { prompt: 'x', env: { FAKE_BYTES: '900000' } };
  const first = await executor({ env: { CLAUDE_BIN: fakeClaude('huge-line') } });
  const old = await first.run(big);
  const young = await first.run(big);
  await first.service.close({ force: false });
  const { service, follow } = await executor({ folder: first.folder, env: { CC_RETENTION_BYTES: '1500000' } });
  const cut = async () => {
    try {
      await follow(old.execution.id);
      return undefined;
    } catch (error) {
      return error;
    }
  };
  const { lastSeq } = old.execution;
  expect(await waitUntil('the old log is cut', cut)).toMatchObject({
    code: 'truncated_before',
    data: { firstSeq: lastSeq },
  });
  const { outcome, result } = await service.executions.get(old.execution.id, CALLER);
  expect({ outcome, result }).toEqual({ outcome: old.execution.outcome, result: old.execution.result });
  expect((await follow(young.execution.id)).events).toEqual(young.events);
});

it('a run leaves no temporary folder, and its workspace and session stay', async () => {
  const { run, folder } = await executor({ env: { CLAUDE_BIN: fakeClaude('succeeds') } });
  const { id, sessionId } = (await run({ prompt: 'x' })).execution;
  expect(existsSync(join(folder, 'data', 'runs', id))).toBe(false);
  expect(existsSync(join(folder, 'data', 'workspaces', 'local', id))).toBe(true);
  expect(existsSync(join(folder, 'data', 'sessions', sessionId ?? ''))).toBe(true);
});
