import type { Demo } from '../cli/command-deps.ts';
import type { Config } from '../config.ts';
import { workspaceFolder } from '../executions/run-directories.ts';
import { DEMO_PROMPT, DEMO_SCRIPT } from '../scripted-model/demo-script.ts';
import { startScriptedModel } from '../scripted-model/scripted-model.ts';
import type { Service } from '../service.ts';

/** A service whose model is scripted and whose credential is of no use elsewhere. */
export async function openDemo(config: Config, open: (from: Config) => Promise<Service>): Promise<Demo> {
  const model = await startScriptedModel({ script: DEMO_SCRIPT });
  const credentials = {
    ...config.credentials,
    apiKey: 'sk-ant-api03-scripted',
    oauthToken: undefined,
    credentialsFile: undefined,
  };
  try {
    const service = await open({ ...config, credentials, upstream: model.url, proxy: {}, claudeBin: undefined });
    return {
      client: service.client(undefined),
      request: { prompt: DEMO_PROMPT, allowedTools: ['Write', 'Bash'], metadata: { demo: 'true' } },
      workspaceOf: (executionId) => workspaceFolder(config.dataDirectory, 'local', executionId),
      proof: { file: 'result.txt', text: '0 1 1 2 3 5 8 13 21 34' },
      close: () => model.close(),
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}
