import type { ExecutorClient } from '../client/executor-client.ts';
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

/** What commands are given by the program's entry. */
export interface CommandDeps {
  terminal: Terminal;
  /** The current directory. */
  directory: string;
  /** How the program was started, for lines that a person may paste. */
  invocation: string;
  /** A client for a caller who works in `directory`, or in fresh workspaces. */
  openClient(directory: string | undefined): Promise<ExecutorClient>;
  diagnose(options: { online: boolean }): Promise<Finding[]>;
  openDemo(): Promise<Demo>;
  /** Where executions are kept. */
  dataDirectory(): string;
  /** Sets the exit code; the program ends when the command returns. */
  exit(code: number): void;
}
