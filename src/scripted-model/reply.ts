import { randomBytes } from 'node:crypto';
import type { Step, StepUsage } from './steps.ts';

export type Block =
  | { type: 'text'; deltas: () => Iterable<string> }
  | { type: 'thinking'; deltas: () => Iterable<string> }
  | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown>; deltas: () => Iterable<string> };

/** How the stream of an answer goes on behind its last delta. */
export type Ending =
  | { kind: 'complete'; stopReason: string }
  | { kind: 'silence' }
  | { kind: 'reset' }
  | { kind: 'error'; type: string; message: string };

export interface Reply {
  blocks: Block[];
  ending: Ending;
}

/** What a step that answers (so neither an HTTP error nor silence before the headers) says. */
export function replyOf(step: Step): Reply {
  switch (step.kind) {
    case 'text':
      return complete([...thinking(step.thinking, step.deltaSize), text(step.text, step.deltaSize)], 'end_turn');
    case 'tool_use': {
      const before = step.text === undefined ? [] : [text(step.text, step.deltaSize)];
      return complete([...before, ...step.tools.map((tool) => toolUse(tool, step.deltaSize))], 'tool_use');
    }
    case 'structured_output':
      return complete([toolUse({ name: 'StructuredOutput', input: step.output }, step.deltaSize)], 'tool_use');
    case 'huge_text':
      return complete([{ type: 'text', deltas: () => hugeText(step.bytes, step.deltaSize) }], 'end_turn');
    case 'deltas':
      return complete([{ type: 'text', deltas: () => repeated(step.text, step.count) }], 'end_turn');
    case 'refusal':
      return complete(step.text === '' ? [] : [text(step.text, step.deltaSize)], 'refusal');
    case 'max_tokens':
      return complete([text(step.text, step.deltaSize)], 'max_tokens');
    case 'stall':
      return {
        blocks: step.when === 'mid_stream' ? [text(step.text, step.deltaSize)] : [],
        ending: { kind: 'silence' },
      };
    case 'reset':
      return { blocks: [text(step.text, step.deltaSize)], ending: { kind: 'reset' } };
    case 'stream_error':
      return {
        blocks: [text(step.text, step.deltaSize)],
        ending: { kind: 'error', type: step.type, message: step.message },
      };
    case 'http_error':
      return { blocks: [], ending: { kind: 'error', type: step.type, message: step.message } };
  }
}

/** The usage object of the Messages API. */
export function usageJson(usage: StepUsage): Record<string, unknown> {
  return {
    input_tokens: usage.inputTokens,
    cache_creation_input_tokens: usage.cacheCreation5mTokens + usage.cacheCreation1hTokens,
    cache_read_input_tokens: usage.cacheReadTokens,
    cache_creation: {
      ephemeral_5m_input_tokens: usage.cacheCreation5mTokens,
      ephemeral_1h_input_tokens: usage.cacheCreation1hTokens,
    },
    output_tokens: usage.outputTokens,
    ...(usage.webSearches === 0 ? {} : { server_tool_use: { web_search_requests: usage.webSearches } }),
    ...(usage.speed === undefined ? {} : { speed: usage.speed }),
    ...(usage.inferenceGeo === undefined ? {} : { inference_geo: usage.inferenceGeo }),
    service_tier: 'standard',
  };
}

/** A finished block as it stands in the `content` of a message that is not streamed. */
export function finishedBlock(block: Block): Record<string, unknown> {
  if (block.type === 'tool_use') {
    return { type: 'tool_use', id: block.id, name: block.name, input: block.input };
  }
  const joined = [...block.deltas()].join('');
  return block.type === 'text'
    ? { type: 'text', text: joined }
    : { type: 'thinking', thinking: joined, signature: 'scripted' };
}

export function newApiId(prefix: string): string {
  return `${prefix}_01${randomBytes(11).toString('hex')}`;
}

function complete(blocks: Block[], stopReason: string): Reply {
  return { blocks, ending: { kind: 'complete', stopReason } };
}

function text(value: string, size: number): Block {
  return { type: 'text', deltas: () => pieces(value, size) };
}

function thinking(value: string | undefined, size: number): Block[] {
  return value === undefined ? [] : [{ type: 'thinking', deltas: () => pieces(value, size) }];
}

function toolUse(tool: { name: string; input: Record<string, unknown>; id?: string | undefined }, size: number): Block {
  return {
    type: 'tool_use',
    id: tool.id ?? newApiId('toolu'),
    name: tool.name,
    input: tool.input,
    deltas: () => pieces(JSON.stringify(tool.input), size),
  };
}

/** Cuts between code points, so that no delta holds half a surrogate pair. */
function* pieces(value: string, size: number): Iterable<string> {
  let start = 0;
  while (start < value.length) {
    let end = Math.min(value.length, start + size);
    if (end < value.length && value.slice(start, end).isWellFormed() === false) {
      end += 1;
    }
    yield value.slice(start, end);
    start = end;
  }
}

function* hugeText(bytes: number, size: number): Iterable<string> {
  const line = 'The quick brown fox jumps over the lazy dog, again.\n';
  const full = line.repeat(Math.ceil(size / line.length)).slice(0, size);
  for (let left = bytes; left > 0; left -= size) {
    yield left < size ? full.slice(0, left) : full;
  }
}

function* repeated(value: string, count: number): Iterable<string> {
  for (let index = 0; index < count; index += 1) {
    yield value;
  }
}
