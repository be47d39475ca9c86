import { expect, it } from 'vitest';
import { whoeverHasIt } from '../../src/executions/remote-control.ts';
import { ServiceError } from '../../src/protocol/errors.ts';

const takenOver = new ServiceError('stale_writer', 'it belongs to writer 3');

/** Answers with each of these in turn. */
function inTurn(...answers: (string | Error)[]): () => Promise<string> {
  return async () => {
    const answer = answers.shift();
    if (answer === undefined) throw new Error('it was asked too often');
    if (answer instanceof Error) throw answer;
    return answer;
  };
}

it('an execution that was taken over meanwhile is asked for again, of three owners at most', async () => {
  expect(await whoeverHasIt(inTurn(takenOver, takenOver, 'done'))).toBe('done');
  await expect(whoeverHasIt(inTurn(takenOver, takenOver, takenOver, 'done'))).rejects.toBe(takenOver);
});

it('any other answer is the answer', async () => {
  const gone = new ServiceError('not_found', 'there is none');
  await expect(whoeverHasIt(inTurn(gone, 'done'))).rejects.toBe(gone);
});
