import { initializeMessage, userMessage } from '../claude/command.ts';
import type { ResultMessage } from '../claude/messages.ts';
import { nothingObserved, observe } from '../claude/observed.ts';
import type { ClaudeProcess } from '../claude/process.ts';
import type { OutputContract } from '../claude/structured-output.ts';
import { repairPrompt } from '../claude/structured-output.ts';
import { createTranslator } from '../claude/translate.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
import { newId } from '../protocol/ids.ts';
import type { LiveExecution } from './live-execution.ts';

/**
 * The talk with one process: sends the prompt, turns every line into events, asks for a better structured output
 * where one is needed, and knows when the last turn is over.
 */
export class Conversation {
  readonly observed = nothingObserved();
  /** Resolves with the first `result` after which no further turn follows. */
  readonly turnEnded: Promise<void>;
  structured: unknown;
  /** Why the structured output does not count; undefined when it does, or none was asked for. */
  outputProblem: string | undefined;
  readonly #live: LiveExecution;
  readonly #claude: ClaudeProcess;
  readonly #contract: OutputContract | undefined;
  readonly #translate = createTranslator();
  #repairsLeft: number;
  /** User turns that no result has answered yet. The CLI's own count does not hold those on their way to it. */
  readonly #unanswered = new Set<string>();
  #turns = 0;
  #state: 'talking' | 'over' = 'talking';
  #resolveTurnEnded: () => void = () => {};

  constructor(live: LiveExecution, claude: ClaudeProcess, contract: OutputContract | undefined) {
    this.#live = live;
    this.#claude = claude;
    this.#contract = contract;
    this.#repairsLeft = live.record.request.repairTurns;
    this.turnEnded = new Promise((resolve) => {
      this.#resolveTurnEnded = resolve;
    });
  }

  /** Sends the options and the prompt, without waiting for the CLI to be ready: it reads them when it is. */
  start(request: ExecutionRequest): void {
    void this.#claude.send(initializeMessage(request, this.#contract?.cliSchema));
    this.#say(request.prompt);
  }

  /** Sends the prompt to a process that has its options. */
  startInitialised(request: ExecutionRequest): void {
    this.#say(request.prompt);
  }

  /** Adds a user turn behind the current one; false when the last turn is over. */
  addTurn(text: string): boolean {
    if (this.#state === 'over' || this.#live.stop !== undefined) return false;
    this.#say(text);
    return true;
  }

  /** How many user turns were sent, the prompt among them. */
  get turns(): number {
    return this.#turns;
  }

  #say(text: string): void {
    const uuid = newId();
    this.#turns += 1;
    this.#unanswered.add(uuid);
    void this.#claude.send(userMessage(text, uuid));
  }

  /** @param store false once the log takes no more events of this run */
  line(line: string, store: boolean): void {
    const { events, message } = this.#translate(line);
    const { output, writer } = this.#live;
    for (const { type, json, delta, voided } of events) {
      if (!store) continue;
      if (delta !== undefined) output.delta(delta);
      if (voided !== undefined) output.voided(voided);
      writer.appendRaw(type, json);
    }
    if (message === undefined) return;
    if (store) output.message(message);
    observe(this.observed, message);
    if (message.type === 'result') this.#result(message);
  }

  #result(result: ResultMessage): void {
    this.#answered(result.user_message_uuids);
    const more = result.queued_turn_count > 0 || this.#unanswered.size > 0;
    if (more && this.#live.stop === undefined) return;
    if (this.#contract !== undefined && this.#live.stop === undefined) {
      const answer = readAnswer(result, this.#contract);
      this.outputProblem = answer.problem;
      this.structured = answer.value;
      if (answer.problem !== undefined && this.#repairsLeft > 0) {
        this.#repairsLeft -= 1;
        this.#say(repairPrompt(answer.problem));
        return;
      }
    }
    this.#state = 'over';
    this.#resolveTurnEnded();
  }

  /** A result that names none of our turns answers the oldest. */
  #answered(uuids: readonly string[]): void {
    const named = uuids.filter((uuid) => this.#unanswered.delete(uuid));
    const [oldest] = this.#unanswered;
    if (named.length === 0 && oldest !== undefined) this.#unanswered.delete(oldest);
  }
}

/** A result that failed for another reason has no problem with its output. */
function readAnswer(result: ResultMessage, contract: OutputContract): { value?: unknown; problem?: string } {
  if (result.subtype === 'error_max_structured_output_retries') {
    return { problem: `${result.errors?.join('; ') ?? 'The structured output does not match the schema'}.` };
  }
  return result.is_error ? {} : contract.read(result);
}
