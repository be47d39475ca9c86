/**
 * Runs a task and prints its text as it is written. The client connects again by itself, from where it was, when the
 * connection drops.
 *
 *   CC_URL=http://127.0.0.1:8000 CC_API_KEY=cck_… node examples/follow.ts "Say hello"
 */
import { connectServer } from 'cc-executor/client';

const { CC_URL: url = 'http://127.0.0.1:8000', CC_API_KEY: key } = process.env;
const client = connectServer({ url, key });
const { id } = await client.execute({ prompt: process.argv[2] ?? 'Say hello' });

for await (const batch of client.events(id, { after: 0 })) {
  for (const { bytes } of batch) {
    const event = JSON.parse(bytes);
    if (event.type === 'claude.delta') process.stdout.write(event.data.text ?? '');
  }
}

const { outcome, result } = await client.get(id);
console.log(`\n${outcome?.kind}, ${result?.usage.outputTokens} tokens`);
await client.close({ force: false });
