import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { Block, Ending, Reply } from './reply.ts';
import { newApiId, usageJson } from './reply.ts';
import type { Step } from './steps.ts';

/**
 * Streams an answer as the Messages API does (`message_start`, blocks, `message_delta`, `message_stop`). Waits while
 * the reader is slow, and stops when it has gone.
 */
export async function streamReply(
  response: ServerResponse,
  reply: Reply,
  answer: { step: Step; model: string; signal: AbortSignal },
): Promise<void> {
  const send = (event: string, data: Record<string, unknown>): Promise<void> =>
    write(response, `event: ${event}\ndata: ${JSON.stringify({ type: event, ...data })}\n\n`, answer.signal);
  const usage = usageJson(answer.step.usage);
  response.flushHeaders();
  if (reply.blocks.length === 0 && reply.ending.kind === 'silence') {
    return;
  }
  await send('message_start', {
    message: {
      id: newApiId('msg'),
      type: 'message',
      role: 'assistant',
      model: answer.model,
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: { ...usage, output_tokens: 1 },
    },
  });
  await send('ping', {});
  for (const [index, block] of reply.blocks.entries()) {
    await send('content_block_start', { index, content_block: startOf(block) });
    for (const piece of block.deltas()) {
      if (answer.step.deltaEveryMs > 0) {
        await wait(answer.step.deltaEveryMs, undefined, { signal: answer.signal });
      }
      await send('content_block_delta', { index, delta: deltaOf(block, piece) });
    }
    if (reply.ending.kind === 'complete') {
      await finishBlock(send, index, block);
    }
  }
  await end(response, send, { ending: reply.ending, usage });
}

type Send = (event: string, data: Record<string, unknown>) => Promise<void>;

async function finishBlock(send: Send, index: number, block: Block): Promise<void> {
  if (block.type === 'thinking') {
    await send('content_block_delta', { index, delta: { type: 'signature_delta', signature: 'scripted' } });
  }
  await send('content_block_stop', { index });
}

async function end(
  response: ServerResponse,
  send: Send,
  { ending, usage }: { ending: Ending; usage: Record<string, unknown> },
): Promise<void> {
  switch (ending.kind) {
    case 'complete':
      await send('message_delta', { delta: { stop_reason: ending.stopReason, stop_sequence: null }, usage });
      await send('message_stop', {});
      response.end();
      return;
    case 'error':
      await send('error', { error: { type: ending.type, message: ending.message } });
      response.end();
      return;
    case 'reset':
      response.socket?.resetAndDestroy();
      return;
    case 'silence':
      return;
  }
}

function startOf(block: Block): Record<string, unknown> {
  switch (block.type) {
    case 'text':
      return { type: 'text', text: '' };
    case 'thinking':
      return { type: 'thinking', thinking: '', signature: '' };
    case 'tool_use':
      return { type: 'tool_use', id: block.id, name: block.name, input: {} };
  }
}

function deltaOf(block: Block, piece: string): Record<string, unknown> {
  switch (block.type) {
    case 'text':
      return { type: 'text_delta', text: piece };
    case 'thinking':
      return { type: 'thinking_delta', thinking: piece };
    case 'tool_use':
      return { type: 'input_json_delta', partial_json: piece };
  }
}

async function write(response: ServerResponse, frame: string, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (!response.write(frame)) {
    await once(response, 'drain', { signal });
  }
}
