import { expect, it } from 'vitest';
import { joinedAppends, type Spooled } from '../../src/storage/spool/joined-appends.ts';
import type { Append } from '../../src/storage/storage.ts';
import { eventOf, executionOf } from '../support/execution-records.ts';

async function joined(appends: Append[]): Promise<[seqs: number[], state: string | undefined, end: number][]> {
  async function* entries(): AsyncGenerator<Spooled> {
    for (const [at, append] of appends.entries()) yield { append, end: at + 1 };
  }
  const found: [number[], string | undefined, number][] = [];
  for await (const { append, end } of joinedAppends(entries())) {
    found.push([append.events.map(({ seq }) => seq), append.execution?.state, end]);
  }
  return found;
}

const append = (seqs: number[], execution?: Append['execution'], text = ''): Append => ({
  ...{ executionId: 'a', fence: 1, events: seqs.map((seq) => eventOf(seq, text)) },
  ...(execution === undefined ? {} : { execution }),
});

it('appends that follow one another are one, with the latest record and the offset behind the last', async () => {
  const running = executionOf({ state: 'running' });
  expect(await joined([append([2, 3]), append([4], running), append([5])])).toEqual([[[2, 3, 4, 5], 'running', 3]]);
});

it('a record alone, another writer, many events and long ones begin a new one', async () => {
  const alone = append([], executionOf({ state: 'paused' }));
  expect(await joined([append([2]), alone, append([3])])).toEqual([
    [[2], undefined, 1],
    [[], 'paused', 2],
    [[3], undefined, 3],
  ]);
  expect(await joined([append([2]), { ...append([3]), fence: 2 }])).toHaveLength(2);
  const many = Array.from({ length: 600 }, (_, at) => append([at + 2]));
  expect((await joined(many)).map(([seqs]) => seqs.length)).toEqual([500, 100]);
  const long = 'x'.repeat(100 * 1024);
  const [first, second] = await joined([
    append([2], undefined, long),
    append([3], undefined, long),
    append([4], undefined, long),
  ]);
  expect([first?.[0], second?.[0]]).toEqual([[2, 3], [4]]);
});

it('nothing comes of nothing', async () => {
  expect(await joined([])).toEqual([]);
});
