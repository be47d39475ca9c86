import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CredentialProblem } from './credential.ts';
import type { Login, LoginRead } from './login-file.ts';
import { asExpired, asKept, readLogin, replaceText, withTokensOf } from './login-file.ts';
import { lockRefresh } from './refresh-lock.ts';

/** A login with less time left than this is refreshed before it is used. */
const REFRESH_BEFORE_MS = 5 * 60_000;
/** Answered in 0.2 s by CLI 2.1.330, plus two calls of the login server. */
const CLI_LIMIT_MS = 60_000;
/** After a refresh that failed, for whatever reason, the same login is left alone for this long. */
const PAUSE_MS = 60_000;
/** Keeps the CLI from every call but those of the login. */
const QUIET = {
  DISABLE_AUTOUPDATER: '1',
  DISABLE_TELEMETRY: '1',
  DISABLE_ERROR_REPORTING: '1',
  CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
};
const COPY_PREFIX = 'login-copy-';
const KEPT_NAME = 'claude-login.json';
const ORIGIN_NAME = 'origin';

/**
 * Runs the CLI to its end. `env` is to be added to a clean environment that holds no credential, together with the
 * operator's proxy and CA settings. Rejects when it cannot be started or the signal ends it.
 */
export type RunCli = (
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input: string,
  signal: AbortSignal,
) => Promise<{ exitCode: number | null; stderr: string }>;

/** Why a login could not be refreshed. The message says what to do. */
export class LoginProblem extends Error {
  readonly code: 'refused' | 'unreachable' | CredentialProblem['code'];

  constructor(code: LoginProblem['code'], message: string) {
    super(message);
    this.name = 'LoginProblem';
    this.code = code;
  }
}

export interface LoginKeeperOptions {
  /** The operator's `.credentials.json`. */
  file: string;
  dataDir: string;
  runCli: RunCli;
}

/**
 * Keeps a Claude Max login fresh. The CLI itself refreshes it, on a copy in a private folder: a refused refresh
 * makes the CLI overwrite the file with empty tokens (seen with 2.1.330), and that must not happen to the operator's.
 * A newer login is written back to the operator's file where that is possible and the file is as it was; else it is
 * kept in the data folder, and preferred while it is the newer one and the operator has not changed their file.
 */
export class LoginKeeper {
  readonly #file: string;
  readonly #kept: string;
  readonly #dataDir: string;
  readonly #runCli: RunCli;
  #refreshing: Promise<Login> | undefined;
  #failed: { accessToken: string; at: number; problem: LoginProblem } | undefined;
  #validUntil: number | undefined;

  constructor(options: LoginKeeperOptions) {
    this.#file = options.file;
    this.#dataDir = options.dataDir;
    this.#kept = join(options.dataDir, KEPT_NAME);
    this.#runCli = options.runCli;
  }

  /** When the login last used ends, in milliseconds since the epoch. */
  get validUntil(): number | undefined {
    return this.#validUntil;
  }

  /** The newest login there is, without refreshing it; call it once before the first use. The data folder must exist. */
  async load(): Promise<LoginRead> {
    await this.#adoptLeftCopies();
    return this.#newest();
  }

  /**
   * The access token to use now, refreshed when it ends within five minutes.
   * @throws LoginProblem when there is none that is still valid
   */
  async current(): Promise<string> {
    const login = await this.#mustRead();
    if (isFresh(login)) {
      return login.accessToken;
    }
    try {
      return (await this.#refreshOnce(login)).accessToken;
    } catch (error) {
      if (error instanceof LoginProblem && login.expiresAt > Date.now()) {
        return login.accessToken;
      }
      throw error;
    }
  }

  /**
   * Gets a newer login after the API refused `rejected`; does nothing when there is a newer one already.
   * @throws LoginProblem
   */
  async refresh(rejected: string): Promise<void> {
    const login = await this.#mustRead();
    if (login.accessToken === rejected) {
      await this.#refreshOnce(login);
    }
  }

  async #mustRead(): Promise<Login> {
    const read = await this.#newest();
    if (!read.ok) {
      throw new LoginProblem(read.problem.code, read.problem.message);
    }
    this.#validUntil = Number.isFinite(read.login.expiresAt) ? read.login.expiresAt : undefined;
    return read.login;
  }

  async #newest(): Promise<LoginRead> {
    const [own, kept] = await Promise.all([readLogin(this.#file), readLogin(this.#kept)]);
    const related = own.ok && kept.ok && kept.login.origin === own.login.origin;
    return related && kept.login.expiresAt > own.login.expiresAt ? kept : own;
  }

  /** One refresh at a time: everyone who asks meanwhile gets its result. */
  #refreshOnce(login: Login): Promise<Login> {
    const failed = this.#failed;
    if (failed?.accessToken === login.accessToken && Date.now() - failed.at < PAUSE_MS) {
      return Promise.reject(failed.problem);
    }
    this.#refreshing ??= this.#refreshNow(login).finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** A refresh ends the refresh token it was made with, so that of several processes on a data folder one makes it. */
  async #refreshNow(login: Login): Promise<Login> {
    const unlock = await lockRefresh(this.#dataDir);
    try {
      const newest = await this.#newest();
      const others = newest.ok && newest.login.accessToken !== login.accessToken && isFresh(newest.login);
      return others ? newest.login : await this.#refreshHere(login);
    } finally {
      unlock();
    }
  }

  async #refreshHere(login: Login): Promise<Login> {
    const copy = await mkdtemp(join(this.#dataDir, `${COPY_PREFIX}${process.pid}-`));
    try {
      await writeFile(join(copy, ORIGIN_NAME), login.origin);
      const newer = await this.#refreshCopy(copy, login);
      await this.#store(login, newer);
      this.#failed = undefined;
      return newer;
    } catch (error) {
      const other = await this.#newest();
      if (other.ok && other.login.accessToken !== login.accessToken && other.login.expiresAt > Date.now()) {
        return other.login;
      }
      if (error instanceof LoginProblem) {
        this.#failed = { accessToken: login.accessToken, at: Date.now(), problem: error };
      }
      throw error;
    } finally {
      await rm(copy, { recursive: true, force: true, maxRetries: 3 });
    }
  }

  /** `claude auth status` refreshes a login that has expired and asks nothing of the model (seen with 2.1.330). */
  async #refreshCopy(copy: string, login: Login): Promise<Login> {
    const file = join(copy, '.credentials.json');
    await writeFile(file, asExpired(login.text), { mode: 0o600 });
    const env = { ...QUIET, HOME: copy, CLAUDE_CONFIG_DIR: copy, CLAUDE_CODE_TMPDIR: copy, TMPDIR: copy };
    const signal = AbortSignal.timeout(CLI_LIMIT_MS);
    const run = await this.#runCli(['auth', 'status'], env, '', signal).catch(asUnreachable);
    const read = await readLogin(file);
    if (!read.ok) {
      throw refused(this.#file);
    }
    if (read.login.accessToken === login.accessToken || read.login.expiresAt <= forgetInfinite(login.expiresAt)) {
      const last = run.stderr.trim().split('\n').at(-1) ?? '';
      throw new LoginProblem(
        'unreachable',
        `The login in ${this.#file} could not be refreshed: the login server did not answer. ${last}`.trimEnd(),
      );
    }
    return read.login;
  }

  async #store(before: Login, newer: Login): Promise<void> {
    const own = await readLogin(this.#file);
    const unchanged = own.ok && own.login.text === before.text;
    if (unchanged && (await replaceText(this.#file, withTokensOf(before.text, newer.text)))) {
      return;
    }
    await this.#keep(newer, before.origin);
  }

  async #keep(login: Login, origin: string): Promise<void> {
    const next = join(this.#dataDir, `${COPY_PREFIX}${process.pid}.json`);
    await writeFile(next, asKept(login.text, origin), { mode: 0o600 });
    await rename(next, this.#kept);
  }

  /** A service that died behind a refresh left the only copy of the new login in its private folder. */
  async #adoptLeftCopies(): Promise<void> {
    const names = await readdir(this.#dataDir);
    for (const name of names.filter(isLeftBehind)) {
      const path = join(this.#dataDir, name);
      const left = await readLogin(join(path, '.credentials.json'));
      const newest = await this.#newest();
      if (left.ok && newest.ok && left.login.expiresAt > newest.login.expiresAt) {
        await this.#keep(left.login, await readFile(join(path, ORIGIN_NAME), 'utf8'));
      }
      await rm(path, { recursive: true, force: true });
    }
  }
}

/** Whether no living process works on the copy. At `load` this process has none yet, so that its id is an older one's. */
function isLeftBehind(name: string): boolean {
  const pid = name.startsWith(COPY_PREFIX) ? Number.parseInt(name.slice(COPY_PREFIX.length), 10) : Number.NaN;
  return pid === process.pid || (pid > 0 && !isAlive(pid));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'EPERM')) {
      return error.code === 'EPERM';
    }
    throw error;
  }
}

function isFresh({ expiresAt }: Login): boolean {
  return expiresAt - Date.now() > REFRESH_BEFORE_MS;
}

function refused(file: string): LoginProblem {
  return new LoginProblem(
    'refused',
    `The login server refused to refresh the login in ${file}. Run \`claude\`, then /login; or set CLAUDE_CODE_OAUTH_TOKEN from \`claude setup-token\`.`,
  );
}

function asUnreachable(error: unknown): { stderr: string } {
  return { stderr: error instanceof Error ? error.message : String(error) };
}

/** A login without an end is replaced by any that has one. */
function forgetInfinite(expiresAt: number): number {
  return Number.isFinite(expiresAt) ? expiresAt : 0;
}
