import { z } from 'zod';
import { parsedJson } from '../protocol/json.ts';
import type { CallUsage } from './prices.ts';
import { NO_USAGE } from './prices.ts';

const Tokens = z.number().min(0).nullish().catch(undefined);

const UsageJson = z
  .looseObject({
    input_tokens: Tokens,
    output_tokens: Tokens,
    cache_read_input_tokens: Tokens,
    cache_creation_input_tokens: Tokens,
    cache_creation: z.looseObject({ ephemeral_1h_input_tokens: Tokens }).nullish().catch(undefined),
    server_tool_use: z.looseObject({ web_search_requests: Tokens }).nullish().catch(undefined),
    speed: z.string().nullish().catch(undefined),
    inference_geo: z.string().nullish().catch(undefined),
  })
  .nullish()
  .catch(undefined);
type UsageJson = z.infer<typeof UsageJson>;

const Message = z.looseObject({
  model: z.string().optional().catch(undefined),
  stop_reason: z.string().nullish().catch(undefined),
  usage: UsageJson,
});

const StreamEvent = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('message_start'), message: Message }),
  z.looseObject({
    type: z.literal('message_delta'),
    delta: z.looseObject({ stop_reason: z.string().nullish().catch(undefined) }),
    usage: UsageJson,
  }),
]);

/** What is known of an answer at some moment. */
export interface Reading {
  model: string | null;
  usage: CallUsage;
  stopReason: string | null;
  /** Whether the answer's own count of its output tokens is still missing. */
  estimated: boolean;
}

/** Puts together what the messages of the API say about one answer. Numbers in later messages replace earlier ones. */
export class UsageReading {
  #model: string | null = null;
  #stopReason: string | null = null;
  #usage: CallUsage = NO_USAGE;
  #cacheCreationTokens = 0;
  #counted = false;

  /** Takes the data of a `message_start` or `message_delta` event; anything else is passed over. */
  takeEvent(json: string): void {
    const parsed = StreamEvent.safeParse(parsedJson(json));
    if (!parsed.success) {
      return;
    }
    if (parsed.data.type === 'message_start') {
      this.#model = parsed.data.message.model ?? null;
      this.#takeUsage(parsed.data.message.usage);
      return;
    }
    this.#stopReason = parsed.data.delta.stop_reason ?? this.#stopReason;
    this.#takeUsage(parsed.data.usage);
    this.#counted = typeof parsed.data.usage?.output_tokens === 'number';
  }

  /** Takes a whole message that was not streamed. */
  takeMessage(json: string): void {
    const parsed = Message.safeParse(parsedJson(json));
    if (parsed.success && typeof parsed.data.usage?.output_tokens === 'number') {
      this.#model = parsed.data.model ?? null;
      this.#stopReason = parsed.data.stop_reason ?? null;
      this.#takeUsage(parsed.data.usage);
      this.#counted = true;
    }
  }

  /** @param estimatedOutput the output tokens to assume as long as the answer has not counted them itself */
  read(estimatedOutput: number): Reading {
    const outputTokens = this.#counted ? this.#usage.outputTokens : Math.max(this.#usage.outputTokens, estimatedOutput);
    return {
      model: this.#model,
      usage: { ...this.#usage, outputTokens },
      stopReason: this.#stopReason,
      estimated: !this.#counted,
    };
  }

  #takeUsage(json: UsageJson): void {
    const before = this.#usage;
    this.#cacheCreationTokens = json?.cache_creation_input_tokens ?? this.#cacheCreationTokens;
    const oneHour = json?.cache_creation?.ephemeral_1h_input_tokens ?? before.cacheCreation1hTokens;
    const cacheCreation1hTokens = Math.min(oneHour, this.#cacheCreationTokens);
    this.#usage = {
      inputTokens: json?.input_tokens ?? before.inputTokens,
      outputTokens: json?.output_tokens ?? before.outputTokens,
      cacheReadTokens: json?.cache_read_input_tokens ?? before.cacheReadTokens,
      cacheCreation1hTokens,
      cacheCreation5mTokens: this.#cacheCreationTokens - cacheCreation1hTokens,
      webSearches: json?.server_tool_use?.web_search_requests ?? before.webSearches,
      speed: speedOf(json?.speed) ?? before.speed,
      inferenceGeo: json?.inference_geo ?? before.inferenceGeo,
    };
  }
}

function speedOf(value: string | null | undefined): CallUsage['speed'] | undefined {
  return value === 'fast' || value === 'standard' ? value : undefined;
}
