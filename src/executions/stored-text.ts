import { applyStored, OutputText } from '../claude/output-text.ts';
import type { Storage } from '../storage/storage.ts';

const PAGE = { limit: 1000, maxBytes: 4 * 1024 * 1024 };

/** The assistant's text and the last `seq`, from the stored log. */
export async function storedText(storage: Storage, executionId: string): Promise<{ text: string; lastSeq: number }> {
  const output = new OutputText();
  for (let after = 0; ; ) {
    const page = await storage.readEvents(executionId, { after, ...PAGE });
    applyStored(output, page.events);
    after = page.events.at(-1)?.seq ?? page.lastSeq;
    if (after >= page.lastSeq) return { text: output.toString(), lastSeq: page.lastSeq };
  }
}
