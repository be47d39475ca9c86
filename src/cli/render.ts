import type { ExecutionEvent } from '../protocol/events.ts';
import { type Progress, StatusLine } from './status-line.ts';
import { bytes, firstLine, printable, type Style, styled, type Terminal } from './terminal.ts';

const TOOL_WIDTH = 100;

/** A part of a CLI line that is of interest for the status line. */
interface MessageUsage {
  input_tokens?: number;
  output_tokens?: number;
}

/**
 * Shows the events of a run to a person: the assistant's text on stdout as it streams, everything about the run on
 * stderr, so that stdout holds the answer and nothing else.
 */
export class Renderer {
  readonly #terminal: Terminal;
  readonly #textTo: NodeJS.WriteStream;
  readonly #status: StatusLine;
  readonly #progress: Progress = { startedAt: performance.now(), tokens: 0, costUsd: undefined, activity: 'starting' };
  readonly #tools = new Map<string, string>();
  /** Messages whose text has been shown by its deltas. */
  readonly #streamed = new Set<string>();
  #openBlock = '';
  #textEndsLine = true;

  /** @param options.textTo where the assistant's text goes; stderr when stdout is for a structured result */
  constructor(terminal: Terminal, options: { textTo: NodeJS.WriteStream }) {
    this.#terminal = terminal;
    this.#textTo = options.textTo;
    this.#status = new StatusLine(terminal, this.#progress);
  }

  show(event: ExecutionEvent): void {
    switch (event.type) {
      case 'claude.delta':
        this.#delta(event.data);
        break;
      case 'claude.message':
        this.#message(event.data);
        break;
      case 'claude.voided':
        this.note('yellow', 'the answer broke off; its unfinished part is void');
        break;
      case 'tool.started':
        this.#toolStarted(event.data);
        break;
      case 'tool.finished':
        this.#toolFinished(event.data);
        break;
      default:
        this.#lifecycle(event);
    }
  }

  /** One line about the run, on stderr. */
  note(style: Style, text: string): void {
    this.#endText();
    const line = `${styled(this.#terminal, style, printable(text))}\n`;
    this.#status.makeWayFor(line);
    this.#terminal.stderr.write(line);
  }

  /** Writes to stdout, past the status line. */
  answer(text: string): void {
    this.#status.makeWayFor(text);
    this.#terminal.stdout.write(this.#terminal.stdout.isTTY ? printable(text) : text);
  }

  activity(text: string): void {
    this.#progress.activity = text;
  }

  stop(): void {
    this.#endText();
    this.#status.stop();
  }

  #delta({
    messageId,
    blockIndex,
    parentToolUseId,
    text,
  }: Extract<ExecutionEvent, { type: 'claude.delta' }>['data']): void {
    if (parentToolUseId !== null) return;
    this.#progress.activity = text === undefined ? 'thinking' : 'writing';
    if (text === undefined) return;
    this.#streamed.add(messageId);
    this.#text(text, `${messageId}/${blockIndex}`);
  }

  /** Blocks of text stand apart by an empty line, as they do in the execution's text. */
  #text(text: string, block: string): void {
    if (this.#openBlock !== '' && this.#openBlock !== block) this.#endText('\n');
    this.#openBlock = block;
    this.#textEndsLine = text.endsWith('\n');
    this.#status.makeWayFor(text);
    this.#textTo.write(this.#textTo.isTTY ? printable(text) : text);
  }

  #endText(more = ''): void {
    if (this.#openBlock === '') return;
    const end = `${this.#textEndsLine ? '' : '\n'}${more}`;
    this.#status.makeWayFor(end);
    if (end !== '') this.#textTo.write(end);
    this.#openBlock = '';
    this.#textEndsLine = true;
  }

  #message(line: Record<string, unknown>): void {
    const { type, message, parent_tool_use_id: parent } = line;
    if (typeof message === 'object' && message !== null && 'usage' in message) this.#count(message.usage ?? {});
    if (type !== 'assistant' || parent != null || typeof message !== 'object' || message === null) return;
    if (!('id' in message && 'content' in message && Array.isArray(message.content))) return;
    if ('model' in message && message.model === '<synthetic>') return;
    const id = String(message.id);
    if (this.#streamed.has(id)) return;
    for (const block of message.content) if (block?.type === 'text') this.#text(String(block.text), `${id}/whole`);
  }

  #count(usage: MessageUsage): void {
    this.#progress.tokens = Math.max(this.#progress.tokens, (usage.input_tokens ?? 0) + (usage.output_tokens ?? 0));
  }

  #toolStarted({ toolUseId, name, input }: Extract<ExecutionEvent, { type: 'tool.started' }>['data']): void {
    this.#tools.set(toolUseId, name);
    this.#progress.activity = name;
    this.note('cyan', `● ${name}  ${firstLine(summaryOf(input), TOOL_WIDTH)}`);
  }

  #toolFinished({ toolUseId, isError, bytes: size }: Extract<ExecutionEvent, { type: 'tool.finished' }>['data']): void {
    const name = this.#tools.get(toolUseId) ?? 'tool';
    this.#tools.delete(toolUseId);
    this.#progress.activity = 'waiting for the model';
    this.note(isError ? 'red' : 'dim', `  ⎿ ${name} ${isError ? 'failed' : 'ok'}, ${bytes(size)}`);
  }

  #lifecycle(event: ExecutionEvent): void {
    switch (event.type) {
      case 'execution.queued':
        this.#progress.activity = 'queued';
        break;
      case 'execution.started':
        this.#progress.activity = 'waiting for the model';
        this.note(
          'dim',
          `execution ${event.executionId} started: claude ${event.data.cli.version}, model ${event.data.model}`,
        );
        break;
      case 'claude.stderr':
        this.note('dim', event.data.text.trimEnd());
        break;
      case 'limit.notice':
        this.note(
          'yellow',
          `${event.data.kind}${event.data.retryAt === null ? '' : `, again at ${event.data.retryAt}`}`,
        );
        break;
      case 'execution.stalled':
        this.#progress.activity = 'silent';
        this.note('yellow', `nothing heard for ${Math.round(event.data.silentMs / 1000)} s; it still runs`);
        break;
      case 'execution.paused':
        this.#progress.activity = 'paused';
        this.note('yellow', 'paused');
        break;
      case 'execution.resumed':
        this.note('yellow', event.data.by === 'time' ? 'resumed: a pause lasts at most 240 s' : 'resumed');
        break;
      case 'execution.retrying':
        this.note('yellow', `${event.data.reason}: attempt ${event.data.attempt} starts in ${event.data.delayMs} ms`);
        break;
      default:
        break;
    }
  }
}

/** The part of a tool's input that tells most. */
function summaryOf(input: unknown): string {
  if (typeof input !== 'object' || input === null) return String(input);
  const telling = ['command', 'file_path', 'path', 'pattern', 'url', 'query', 'description', 'prompt'];
  const entries = new Map<string, unknown>(Object.entries(input));
  const key = telling.find((name) => typeof entries.get(name) === 'string');
  return key === undefined ? JSON.stringify(input) : String(entries.get(key));
}
