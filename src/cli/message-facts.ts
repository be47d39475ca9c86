/** What the command line reads from lines of the CLI, which are loose: a newer CLI may leave out or add anything. */

type Loose = Record<string, unknown>;

function isObject(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objects(value: unknown): Loose[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Tokens of one model message so far; the id is the message's, which several lines repeat with growing numbers. */
export function tokensOf(line: Loose): { id: string; tokens: number } | undefined {
  const start = isObject(line.event) && line.event.type === 'message_start' ? line.event.message : undefined;
  const message = isObject(line.message) ? line.message : start;
  if (!isObject(message) || typeof message.id !== 'string' || !isObject(message.usage)) return undefined;
  const counts = ['input_tokens', 'output_tokens', 'cache_read_input_tokens', 'cache_creation_input_tokens'];
  const { usage } = message;
  return { id: message.id, tokens: counts.reduce((total, name) => total + (Number(usage[name]) || 0), 0) };
}

/** US dollars of the whole run, which the CLI tells with a result. */
export function costOf({ type, total_cost_usd: cost }: Loose): number | undefined {
  return type === 'result' && typeof cost === 'number' ? cost : undefined;
}

/** The text blocks of a finished answer of the main conversation; the CLI's own error notices are none. */
export function answerTexts(line: Loose): { id: string; texts: string[] } | undefined {
  const { type, message, parent_tool_use_id: parent } = line;
  if (type !== 'assistant' || parent != null || !isObject(message) || typeof message.id !== 'string') return undefined;
  if (message.model === '<synthetic>') return undefined;
  const texts = objects(message.content).filter((block) => block.type === 'text');
  return { id: message.id, texts: texts.map((block) => String(block.text)) };
}

/** Why tools failed, by the id of their call. */
export function failedTools({ type, message }: Loose): { toolUseId: string; why: string }[] {
  if (type !== 'user' || !isObject(message)) return [];
  return objects(message.content).flatMap((block) => {
    if (block.type !== 'tool_result' || block.is_error !== true || typeof block.tool_use_id !== 'string') return [];
    const parts = objects(block.content).map((part) => part.text);
    const why = [block.content, ...parts].find((part) => typeof part === 'string') ?? '';
    return [{ toolUseId: block.tool_use_id, why: why.replace(/^<tool_use_error>/, '') }];
  });
}
