import type { ExecutionEvent } from '../protocol/events.ts';
import { answerTexts, costOf, failedTools, tokensOf } from './message-facts.ts';
import { type Progress, StatusLine } from './status-line.ts';
import { bytes, firstLine, forStream, printable, type Style, styled, type Terminal } from './terminal.ts';

const TOOL_WIDTH = 100;
/** Messages of which is remembered what was shown and counted. */
const MAX_REMEMBERED = 1000;

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
  readonly #failures = new Map<string, string>();
  readonly #tokens = new Map<string, number>();
  /** Messages whose text has been shown by its deltas, with the last block of it. */
  readonly #streamed = new Map<string, number>();
  #openBlock = '';
  #textEndsLine = true;

  /**
   * @param options.textTo where the assistant's text goes; stderr when stdout is for a structured result
   * @param options.statusLine whether a live line is wanted, where stderr is a terminal
   */
  constructor(terminal: Terminal, options: { textTo: NodeJS.WriteStream; statusLine: boolean }) {
    this.#terminal = terminal;
    this.#textTo = options.textTo;
    this.#status = new StatusLine(terminal, this.#progress, options.statusLine);
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
        this.#voided(event.data);
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
    const { stdout } = this.#terminal;
    this.#status.makeWayFor(text, stdout);
    stdout.write(forStream(stdout, text));
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
    if (this.#streamed.size >= MAX_REMEMBERED) this.#streamed.clear();
    this.#streamed.set(messageId, blockIndex);
    this.#text(text, `${messageId}/${blockIndex}`);
  }

  #voided({ messageId, fromBlock }: Extract<ExecutionEvent, { type: 'claude.voided' }>['data']): void {
    if ((this.#streamed.get(messageId) ?? -1) < fromBlock) return;
    this.note('yellow', 'the answer broke off; what it said last is void');
  }

  /** Blocks of text stand apart by an empty line, as they do in the execution's text. */
  #text(text: string, block: string): void {
    if (this.#openBlock !== '' && this.#openBlock !== block) this.#endText('\n');
    this.#openBlock = block;
    this.#textEndsLine = text.endsWith('\n');
    this.#status.makeWayFor(text, this.#textTo);
    this.#textTo.write(forStream(this.#textTo, text));
  }

  #endText(more = ''): void {
    if (this.#openBlock === '') return;
    const end = `${this.#textEndsLine ? '' : '\n'}${more}`;
    this.#status.makeWayFor(end, this.#textTo);
    if (end !== '') this.#textTo.write(end);
    this.#openBlock = '';
    this.#textEndsLine = true;
  }

  #message(line: Record<string, unknown>): void {
    this.#count(line);
    for (const { toolUseId, why } of failedTools(line)) {
      if (this.#tools.has(toolUseId)) this.#failures.set(toolUseId, firstLine(why, TOOL_WIDTH));
    }
    const answer = answerTexts(line);
    if (answer === undefined || this.#streamed.has(answer.id)) return;
    for (const text of answer.texts) this.#text(text, `${answer.id}/whole`);
  }

  #count(line: Record<string, unknown>): void {
    this.#progress.costUsd = costOf(line) ?? this.#progress.costUsd;
    const message = tokensOf(line);
    if (message === undefined) return;
    const before = this.#tokens.get(message.id) ?? 0;
    this.#progress.tokens += Math.max(0, message.tokens - before);
    if (this.#tokens.size >= MAX_REMEMBERED) this.#tokens.clear();
    this.#tokens.set(message.id, Math.max(before, message.tokens));
  }

  #toolStarted({ toolUseId, name, input }: Extract<ExecutionEvent, { type: 'tool.started' }>['data']): void {
    if (this.#tools.size >= MAX_REMEMBERED) this.#tools.clear();
    this.#tools.set(toolUseId, name);
    this.#progress.activity = name;
    this.note('cyan', `● ${name}  ${firstLine(summaryOf(input), TOOL_WIDTH)}`);
  }

  #toolFinished({ toolUseId, isError, bytes: size }: Extract<ExecutionEvent, { type: 'tool.finished' }>['data']): void {
    const name = this.#tools.get(toolUseId) ?? 'tool';
    const why = this.#failures.get(toolUseId) ?? '';
    this.#tools.delete(toolUseId);
    this.#failures.delete(toolUseId);
    this.#progress.activity = [...this.#tools.values()].at(-1) ?? 'waiting for the model';
    if (isError) this.note('red', `  ⎿ ${name} failed: ${why === '' ? bytes(size) : why}`);
    else this.note('dim', `  ⎿ ${name} ok, ${bytes(size)}`);
  }

  #lifecycle(event: ExecutionEvent): void {
    switch (event.type) {
      case 'model.called':
        this.#progress.costUsd = (this.#progress.costUsd ?? 0) + event.data.costUsd;
        break;
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
        this.note('yellow', limitText(event.data));
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

function limitText({ kind, retryAt, attempt }: Extract<ExecutionEvent, { type: 'limit.notice' }>['data']): string {
  const name = kind === 'unknown' ? 'the model call broke off' : kind.replaceAll('_', ' ');
  const what = `${name}${attempt === null ? '' : ` (try ${attempt})`}`;
  if (retryAt === null) return what;
  return `${what}; ${attempt === null ? 'the limit resets' : 'the next try comes'} at ${retryAt}`;
}

/** The part of a tool's input that tells most. */
function summaryOf(input: unknown): string {
  if (typeof input !== 'object' || input === null) return String(input);
  const telling = ['command', 'file_path', 'path', 'pattern', 'url', 'query', 'description', 'prompt'];
  const entries = new Map<string, unknown>(Object.entries(input));
  const key = telling.find((name) => typeof entries.get(name) === 'string');
  return key === undefined ? JSON.stringify(input) : String(entries.get(key));
}
