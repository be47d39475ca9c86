import type { ExecutorClient } from '../client/executor-client.ts';
import type { KeyClient } from '../client/server-keys.ts';
import type { Finding } from '../protocol/finding.ts';
import type { Terminal } from './terminal.ts';

export interface Demo {
  client: ExecutorClient;
  request: Parameters<ExecutorClient['execute']>[0];
  /** The directory in which the run makes its files. */
  workspaceOf(executionId: string): string;
  /** A file the run must have made, and the text in it. */
  proof: { file: string; text: string };
  close(): Promise<void>;
}

/** A server that runs in this process. */
export interface RunningServer {
  /** What a person is told at its start. */
  lines: string[];
  /** The exit code, when everything is shut. */
  ended: Promise<number>;
  /** Ends it in an orderly way, or with `force` at once; says what happens now. */
  stop(options: { force: boolean }): string;
}

/** What commands are given by the program's entry. */
export interface CommandDeps {
  terminal: Terminal;
  /** The current directory. */
  directory: string;
  /** How the program was started, for lines that a person may paste. */
  invocation: string;
  /** A client of a service of this process, for a caller who works in `directory`, or in fresh workspaces. */
  openClient(directory: string | undefined): Promise<ExecutorClient>;
  /** The server that the environment names, and the key that it gives. */
  namedServer(): { url: string | undefined; key: string | undefined };
  /** Starts a server; what is left out is as configured. */
  openServer(options: { host?: string; port?: number }): Promise<RunningServer>;
  /** The keys in the store of this machine. */
  openKeys(): Promise<KeyClient>;
  /** Makes a new key in place of all others of the operator; the plain key. */
  resetKey(): Promise<string>;
  diagnose(options: { online: boolean }): Promise<Finding[]>;
  openDemo(): Promise<Demo>;
  /** Where executions are kept. */
  dataDirectory(): string;
  /** Sets the exit code; the program ends when the command returns. */
  exit(code: number): void;
}
