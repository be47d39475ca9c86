import type { MessagesBody } from './scripted-model.ts';

/**
 * Whether the CLI asks something beside the conversation, which must not eat a step of the script. Read off CLI
 * 2.1.330: with stream-json input it asks for nothing by itself; the control request `generate_session_title` asks
 * for a title without tools, and `set_model` may probe a model with an answer of one token.
 */
export function sideAnswer(body: MessagesBody): string | undefined {
  if (body.max_tokens === 1) {
    return 'o';
  }
  const withoutTools = body.tools === undefined || body.tools.length === 0;
  const asksTitle = withoutTools && JSON.stringify(body.system ?? '').includes('You are naming a coding session');
  return asksTitle ? '{"title":"Scripted title"}' : undefined;
}
