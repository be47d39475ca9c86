import type { EventDataOf, EventType } from '../protocol/events.ts';
import type { Block, KnownMessage } from './messages.ts';
import { readMessage } from './messages.ts';

/** An event to append: `json` is the text of its data. */
export interface TranslatedEvent {
  type: EventType;
  json: string;
  /** The same data, where the service reads it itself. */
  delta?: EventDataOf<'claude.delta'>;
  voided?: EventDataOf<'claude.voided'>;
}

export interface Translation {
  events: TranslatedEvent[];
  /** The line, when the service acts on its kind. */
  message: KnownMessage | undefined;
}

export type Translate = (line: string) => Translation;

function event<T extends EventType>(type: T, data: EventDataOf<T>): TranslatedEvent {
  return { type, json: JSON.stringify(data) };
}

/** The longest run of simultaneous conversations (main loop and subagents) whose open message is remembered. */
const MAX_CONVERSATIONS = 256;

/**
 * Makes the translator of one process: CLI line → events. Text and thinking deltas become `claude.delta`; every other
 * JSON object passes through verbatim as `claude.message`, followed by what it means (`tool.started`, `limit.notice`
 * …). A line that is no JSON object is kept as `claude.stderr`. Never throws.
 * @param now the wall clock, for the time a retry is due
 */
export function createTranslator(now: () => number = Date.now): Translate {
  const openMessages = new Map<string, string>();

  const remember = (parent: string, messageId: string): void => {
    if (openMessages.size >= MAX_CONVERSATIONS) openMessages.clear();
    openMessages.set(parent, messageId);
  };

  const streamEvent = (line: string, message: Extract<KnownMessage, { type: 'stream_event' }>): TranslatedEvent[] => {
    const parent = message.parent_tool_use_id ?? '';
    const { event: inner } = message;
    if (inner.type === 'message_start' && inner.message !== undefined) remember(parent, inner.message.id);
    const messageId = message.api_message_id ?? openMessages.get(parent);
    const content = inner.type === 'content_block_delta' ? shownPart(inner.delta) : undefined;
    if (content !== undefined && messageId !== undefined && inner.index !== undefined) {
      const parentToolUseId = message.parent_tool_use_id ?? null;
      const delta = { messageId, blockIndex: inner.index, parentToolUseId, ...content };
      return [{ ...event('claude.delta', delta), delta }];
    }
    const abandoned = inner.abandoned_blocks ?? message.abandoned_blocks;
    const events: TranslatedEvent[] = [{ type: 'claude.message', json: line }];
    if (abandoned) {
      const voided = { messageId: abandoned.api_message_id, fromBlock: abandoned.from_block_index };
      events.push({ ...event('claude.voided', voided), voided });
    }
    return events;
  };

  return (line) => {
    const { object, known } = readMessage(line);
    if (!object) return { events: [event('claude.stderr', { text: line })], message: undefined };
    if (known?.type === 'stream_event') return { events: streamEvent(line, known), message: known };
    const verbatim: TranslatedEvent = { type: 'claude.message', json: line };
    return { events: [verbatim, ...(known === undefined ? [] : meaning(known, now))], message: known };
  };
}

/** The part of a delta that is text for people; other deltas pass through as they came. */
function shownPart(
  delta: { text?: string | undefined; thinking?: string | undefined } | undefined,
): { text: string } | { thinking: string } | undefined {
  if (delta?.text !== undefined) return { text: delta.text };
  return delta?.thinking === undefined ? undefined : { thinking: delta.thinking };
}

function meaning(message: KnownMessage, now: () => number): TranslatedEvent[] {
  switch (message.type) {
    case 'assistant':
      return message.message.content.flatMap(toolStarted);
    case 'user':
      return typeof message.message.content === 'string' ? [] : message.message.content.flatMap(toolFinished);
    case 'system':
      if (message.subtype !== 'api_retry') return [];
      return [
        event('limit.notice', {
          kind: message.error ?? 'unknown',
          retryAt: isoTime(now() + message.retry_delay_ms),
          attempt: message.attempt,
        }),
      ];
    case 'rate_limit_event': {
      const { status, resetsAt } = message.rate_limit_info;
      if (status === 'allowed') return [];
      const kind = status === 'rejected' ? 'usage_limit' : 'usage_warning';
      return [event('limit.notice', { kind, retryAt: resetTime(resetsAt), attempt: null })];
    }
    default:
      return [];
  }
}

/** A reset time as the CLI gives it, in seconds since 1970, as RFC 3339; null when there is none or it is nonsense. */
export function resetTime(resetsAt: number | null | undefined): string | null {
  return isoTime((resetsAt ?? Number.NaN) * 1000);
}

function isoTime(ms: number): string | null {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

function toolStarted(block: Block): TranslatedEvent[] {
  if (block.type !== 'tool_use' || block.id === undefined) return [];
  return [event('tool.started', { toolUseId: block.id, name: block.name ?? '', input: block.input ?? {} })];
}

function toolFinished(block: Block): TranslatedEvent[] {
  if (block.type !== 'tool_result' || block.tool_use_id === undefined) return [];
  const content = typeof block.content === 'string' ? block.content : JSON.stringify(block.content ?? '');
  return [
    event('tool.finished', {
      toolUseId: block.tool_use_id,
      isError: block.is_error ?? false,
      bytes: Buffer.byteLength(content),
    }),
  ];
}
