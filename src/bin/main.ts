import { readFileSync } from 'node:fs';
import { basename, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PINNED_VERSION } from '../claude/binary.ts';
import type { CommandDeps } from '../cli/command-deps.ts';
import { runProgram } from '../cli/program.ts';
import { type Config, ConfigError, loadConfig } from '../config.ts';
import { diagnose } from '../doctor/diagnose.ts';
import { createLogger } from '../observability/logger.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Finding } from '../protocol/finding.ts';
import { createService, isolationOf, operatorCredential, type Service } from '../service.ts';
import { openDemo } from './open-demo.ts';

/** The command line: configuration, then the command, which is given what it may use. Returns the exit code. */
export async function main(argv: string[]): Promise<number> {
  const packageJson: { version: string } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  const { version } = packageJson;
  return runProgram(argv, commandDeps(readConfig(), version), `${version} (claude ${PINNED_VERSION})`);
}

/** A wrong setting stops what needs the configuration; help, version and doctor do without. */
function readConfig(): Config | ConfigError {
  try {
    return loadConfig();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

function required(read: Config | ConfigError): Config {
  if (!(read instanceof ConfigError)) return read;
  const errors = read.problems.map((message) => ({ path: '', message }));
  throw new ServiceError('invalid_request', read.message, { data: { errors } });
}

function commandDeps(read: Config | ConfigError, version: string): Omit<CommandDeps, 'exit'> {
  const { stdin, stdout, stderr } = process;
  const open = async (from: Config): Promise<Service> => {
    const service = await createService(from, { logger: createLogger(from.logLevel, { secrets: from.secrets }) });
    await service.begin({ adoptQueued: false });
    return service;
  };
  return {
    terminal: { stdin, stdout, stderr, colour: stderr.isTTY && !(read instanceof ConfigError) && read.colour },
    directory: process.cwd(),
    invocation: invocation(),
    openClient: async (directory) => (await open(required(read))).client(directory),
    namedServer: () => {
      const { clientUrl, apiKey } = required(read);
      return { url: clientUrl, key: apiKey };
    },
    // Loaded only by those who serve: it brings the HTTP framework along.
    openServer: async (options) =>
      (await import('./start-server.ts')).startServer(required(read), { ...options, version }),
    openKeys: async () => (await import('./open-keys.ts')).openKeys(required(read)),
    resetKey: async () => (await import('./open-keys.ts')).resetServiceKey(required(read)),
    diagnose: async ({ online }) => {
      if (read instanceof ConfigError) return read.problems.map(settingFinding);
      return diagnose(read, {
        online,
        findCredential: () => operatorCredential(read),
        proveIsolation: () => isolationOf(read),
      });
    },
    openDemo: async () => openDemo(required(read), open),
    dataDirectory: () => required(read).dataDirectory,
  };
}

function settingFinding(problem: string): Finding {
  return { name: 'settings', state: 'problem', detail: problem, repair: 'correct it in the environment, or unset it' };
}

/** How a person starts this program from where they are, in a form that can be pasted. */
function invocation(): string {
  const started = process.argv[1] ?? '';
  if (basename(started) === 'cc-executor') {
    return started.includes(`node_modules${sep}.bin`) ? 'npx cc-executor' : 'cc-executor';
  }
  const program = fileURLToPath(new URL('../../dist/bin/cli.js', import.meta.url));
  const path = relative(process.cwd(), program);
  return `node ${path.startsWith('../../..') ? program : path}`;
}
