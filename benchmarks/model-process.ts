import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { startScriptedModel } from '../src/scripted-model/scripted-model.ts';
import type { StepInput } from '../src/scripted-model/steps.ts';
import { StepList } from '../src/scripted-model/steps.ts';

/** A scripted model in a process of its own, so that its work does not count as the service's. */
export async function modelProcess(script: StepInput[]): Promise<{ url: string; close(): Promise<void> }> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(script)]);
  const exited = once(child, 'exit');
  const [url] = await Promise.race([once(child, 'message'), exited]);
  if (typeof url !== 'string') throw new Error('the scripted model did not start');
  return {
    url,
    close: async () => {
      child.kill();
      await exited;
    },
  };
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  const model = await startScriptedModel({ script: StepList.parse(JSON.parse(process.argv[2] ?? '[]')) });
  // A benchmark that is killed must not leave its model behind.
  process.once('disconnect', () => process.exit());
  process.send(model.url);
}
