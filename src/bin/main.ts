import { readFileSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PINNED_VERSION } from '../claude/binary.ts';
import type { CommandDeps, Demo } from '../cli/command-deps.ts';
import { EXIT } from '../cli/exit-codes.ts';
import { runProgram } from '../cli/program.ts';
import { type Config, ConfigError, loadConfig } from '../config.ts';
import { diagnose } from '../doctor/diagnose.ts';
import { workspaceFolder } from '../executions/run-directories.ts';
import { createLogger } from '../observability/logger.ts';
import { DEMO_PROMPT, DEMO_SCRIPT } from '../scripted-model/demo-script.ts';
import { startScriptedModel } from '../scripted-model/scripted-model.ts';
import { createService, operatorCredential, type Service } from '../service.ts';

/** The command line: configuration, then the command, which is given what it may use. Returns the exit code. */
export async function main(argv: string[]): Promise<number> {
  try {
    const config = loadConfig();
    const packageJson: { version: string } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    return await runProgram(argv, commandDeps(config), `${packageJson.version} (claude ${PINNED_VERSION})`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return EXIT.usage;
  }
}

function commandDeps(config: Config): Omit<CommandDeps, 'exit'> {
  const { stdin, stdout, stderr } = process;
  const open = (from: Config): Promise<Service> =>
    createService(from, { logger: createLogger(from.logLevel), adoptQueued: false });
  return {
    terminal: { stdin, stdout, stderr, colour: stderr.isTTY && config.colour },
    directory: process.cwd(),
    invocation: invocation(),
    openClient: async (directory) => (await open(config)).client(directory),
    diagnose: ({ online }) => diagnose(config, { online, findCredential: () => operatorCredential(config) }),
    openDemo: () => openDemo(config, open),
    dataDirectory: () => config.dataDirectory,
  };
}

/** A service whose model is scripted and whose credential is of no use elsewhere. */
async function openDemo(config: Config, open: (from: Config) => Promise<Service>): Promise<Demo> {
  const model = await startScriptedModel({ script: DEMO_SCRIPT });
  const credentials = {
    ...config.credentials,
    apiKey: 'sk-ant-api03-scripted',
    oauthToken: undefined,
    credentialsFile: undefined,
  };
  const service = await open({ ...config, credentials, upstream: model.url, proxy: {}, claudeBin: undefined });
  return {
    client: service.client(undefined),
    request: { prompt: DEMO_PROMPT, allowedTools: ['Write', 'Bash'], metadata: { demo: 'true' } },
    workspaceOf: (executionId) => workspaceFolder(config.dataDirectory, 'local', executionId),
    close: () => model.close(),
  };
}

/** How a person starts this program from where they are. */
function invocation(): string {
  if (basename(process.argv[1] ?? '') === 'cc-executor') return 'cc-executor';
  return `node ${relative(process.cwd(), fileURLToPath(new URL('../../dist/bin/cli.js', import.meta.url)))}`;
}
