import { initializeMessage, userMessage } from '../claude/command.ts';
import type { ResultMessage } from '../claude/messages.ts';
import { nothingObserved, observe } from '../claude/observed.ts';
import type { ClaudeProcess } from '../claude/process.ts';
import type { OutputContract } from '../claude/structured-output.ts';
import { repairPrompt } from '../claude/structured-output.ts';
import { createTranslator } from '../claude/translate.ts';
import type { ExecutionRequest } from '../protocol/execution-request.ts';
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
    void this.#claude.send(userMessage(request.prompt));
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
    if (result.queued_turn_count > 0) return;
    if (this.#contract !== undefined && this.#live.stop === undefined) {
      const answer = readAnswer(result, this.#contract);
      this.outputProblem = answer.problem;
      this.structured = answer.value;
      if (answer.problem !== undefined && this.#repairsLeft > 0) {
        this.#repairsLeft -= 1;
        void this.#claude.send(userMessage(repairPrompt(answer.problem)));
        return;
      }
    }
    this.#resolveTurnEnded();
  }
}

/** A result that failed for another reason has no problem with its output. */
function readAnswer(result: ResultMessage, contract: OutputContract): { value?: unknown; problem?: string } {
  if (result.subtype === 'error_max_structured_output_retries') {
    return { problem: `${result.errors?.join('; ') ?? 'The structured output does not match the schema'}.` };
  }
  return result.is_error ? {} : contract.read(result);
}
