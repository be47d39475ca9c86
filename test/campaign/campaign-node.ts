import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type FaultProxy, faultProxy } from '../support/fault-proxy.ts';

const RESTART_MS = 500;
const STOP_LIMIT_MS = 20_000;

export interface NodeOptions {
  name: string;
  role: 'api' | 'worker';
  port: number;
  redisSocket: string;
  program: string;
  env: Record<string, string>;
  logFile: string;
}

/**
 * One process of the built program, with a network of its own to Redis. As a container that is set to restart, it is
 * started again when it ends by itself, as one does that finds no Redis when it starts.
 */
export class CampaignNode {
  readonly name: string;
  readonly role: 'api' | 'worker';
  readonly url: string;
  readonly proxy: FaultProxy;
  /** All it has had. */
  readonly pids = new Set<number>();
  /** How it ended by itself after it had begun to listen: there is no reason for any. */
  readonly crashes: string[] = [];
  /** How often it ended by itself before it had begun to listen. */
  failedStarts = 0;
  readonly #options: NodeOptions;
  readonly #log: WriteStream;
  #child: ChildProcess | undefined;
  #wanted: 'up' | 'down' = 'down';

  private constructor(options: NodeOptions, proxy: FaultProxy) {
    this.name = options.name;
    this.role = options.role;
    this.url = `http://127.0.0.1:${options.port}`;
    this.proxy = proxy;
    this.#options = options;
    this.#log = createWriteStream(options.logFile, { flags: 'a' });
  }

  static async open(options: NodeOptions): Promise<CampaignNode> {
    return new CampaignNode(options, await faultProxy({ path: options.redisSocket }));
  }

  /** Starts it; does not wait until it is ready. */
  start(): void {
    this.#wanted = 'up';
    const { program, env, port, role } = this.#options;
    const child = spawn(process.execPath, [program, 'serve'], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        ...env,
        CC_PORT: String(port),
        CC_ROLE: role,
        REDIS_URL: `redis://127.0.0.1:${this.proxy.port}`,
      },
    });
    this.#child = child;
    if (child.pid !== undefined) this.pids.add(child.pid);
    let said = '';
    let listening = false;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log.write(text);
      said = `${said}${text}`.slice(-4_000);
      listening ||= said.includes('listens on');
    });
    child.once('exit', (code, signal) => {
      if (this.#child !== child || this.#wanted === 'down') return;
      const how = `${this.name} ended by itself with ${signal ?? code}: ${said.slice(-1_000)}`;
      if (listening) this.crashes.push(how);
      else this.failedStarts += 1;
      this.#log.write(`${how}\n`);
      setTimeout(() => this.#wanted === 'up' && this.#child === child && this.start(), RESTART_MS);
    });
  }

  /** SIGKILL, and waits for the end. */
  async kill(): Promise<void> {
    this.#wanted = 'down';
    const child = this.#running();
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#running()?.kill(signal);
  }

  /** Asks it to end; the exit code, or undefined when it had to be killed. */
  async stop(): Promise<number | undefined> {
    this.#wanted = 'down';
    const child = this.#running();
    if (child === undefined) return 0;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = new AbortController();
    const late = delay(STOP_LIMIT_MS, undefined, { signal: timer.signal }).catch(() => undefined);
    const ended = await Promise.race([exited, late]);
    timer.abort();
    if (ended === undefined) await this.kill();
    return typeof ended?.[0] === 'number' ? ended[0] : undefined;
  }

  /** Whether it says that it can take executions, or run them. */
  async ready(): Promise<boolean> {
    try {
      const response = await fetch(`${this.url}/health/ready`, { signal: AbortSignal.timeout(3_000) });
      await response.arrayBuffer();
      return response.status === 200;
    } catch {
      // Nobody is there, or does not answer: not ready either way.
      return false;
    }
  }

  async close(): Promise<void> {
    this.signal('SIGCONT');
    await this.kill();
    await this.proxy.close();
    this.#log.end();
  }

  #running(): ChildProcess | undefined {
    const child = this.#child;
    return child === undefined || child.exitCode !== null || child.signalCode !== null ? undefined : child;
  }
}
