import type { EventDataOf, EventType, StoredEvent } from '../protocol/events.ts';
import { EVENT_DATA } from '../protocol/events.ts';
import { GrowingText } from './growing-text.ts';
import type { KnownMessage } from './messages.ts';
import { AssistantMessage } from './messages.ts';

/** The longest text kept, in UTF-16 units; of a longer one the end is kept. The event log has all of it. */
const MAX_CHARACTERS = 4 * 1024 * 1024;

interface TextBlock {
  messageId: string;
  index: number;
  text: GrowingText;
  /** The CLI has printed the finished block; its text is final. */
  confirmed: boolean;
}

/**
 * The assistant's text so far, as a fold over the log: deltas build blocks, finished blocks replace what their deltas
 * said, voided blocks go. Text of subagents and error texts of the CLI itself do not count.
 */
export class OutputText {
  #blocks: TextBlock[] = [];
  #characters = 0;

  delta({ messageId, blockIndex, parentToolUseId, text }: EventDataOf<'claude.delta'>): void {
    if (parentToolUseId !== null || text === undefined) return;
    const block = this.#blocks.findLast((known) => known.messageId === messageId && known.index === blockIndex);
    if (block === undefined) {
      this.#add({ messageId, index: blockIndex, confirmed: false }, text);
    } else {
      block.text.append(text);
      this.#grow(text.length);
    }
  }

  voided({ messageId, fromBlock }: EventDataOf<'claude.voided'>): void {
    this.#blocks = this.#blocks.filter((block) => block.messageId !== messageId || block.index < fromBlock);
  }

  /** A new attempt starts: nothing said so far counts. */
  voidAll(): void {
    this.#blocks = [];
    this.#characters = 0;
  }

  message(message: KnownMessage): void {
    if (message.type !== 'assistant' || message.parent_tool_use_id != null) return;
    const { id, model, content } = message.message;
    if (model === '<synthetic>') return;
    for (const { type, text } of content) {
      if (type === 'text' && text !== undefined) this.#confirm(id, text);
    }
  }

  toString(): string {
    return this.#blocks
      .map((block) => block.text.toString())
      .join('\n\n')
      .slice(-MAX_CHARACTERS);
  }

  #confirm(messageId: string, text: string): void {
    const draft = this.#blocks.find((block) => block.messageId === messageId && !block.confirmed);
    if (draft === undefined) {
      this.#add({ messageId, index: this.#nextIndex(messageId), confirmed: true }, text);
    } else {
      draft.text.replace(text);
      draft.confirmed = true;
    }
  }

  #nextIndex(messageId: string): number {
    return this.#blocks.filter((block) => block.messageId === messageId).length;
  }

  #add(block: Omit<TextBlock, 'text'>, text: string): void {
    const growing = new GrowingText(MAX_CHARACTERS);
    growing.append(text);
    this.#blocks.push({ ...block, text: growing });
    this.#grow(growing.length);
  }

  #grow(characters: number): void {
    this.#characters += characters;
    if (this.#characters <= 2 * MAX_CHARACTERS) return;
    this.#characters = this.#blocks.reduce((total, block) => total + block.text.length, 0);
    while (this.#blocks.length > 1 && this.#characters > MAX_CHARACTERS) {
      this.#characters -= this.#blocks.shift()?.text.length ?? 0;
    }
  }
}

/** Folds stored events into the text; what is not about text is passed over. */
export function applyStored(output: OutputText, events: readonly StoredEvent[]): void {
  for (const { type, bytes } of events) {
    if (type === 'execution.retrying') output.voidAll();
    const read = READERS[type];
    if (read !== undefined) read(output, dataOf(bytes));
  }
}

const READERS: Partial<Record<EventType, (output: OutputText, data: unknown) => void>> = {
  'claude.delta': (output, data) => {
    const delta = EVENT_DATA['claude.delta'].safeParse(data);
    if (delta.success) output.delta(delta.data);
  },
  'claude.voided': (output, data) => {
    const voided = EVENT_DATA['claude.voided'].safeParse(data);
    if (voided.success) output.voided(voided.data);
  },
  'claude.message': (output, data) => {
    const message = AssistantMessage.safeParse(data);
    if (message.success) output.message(message.data);
  },
};

function dataOf(bytes: string): unknown {
  const event: { data: unknown } = JSON.parse(bytes);
  return event.data;
}
