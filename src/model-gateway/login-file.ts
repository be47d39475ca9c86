import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { parsedJson } from '../protocol/json.ts';
import type { CredentialProblem } from './credential.ts';

/** A login's file is a few hundred bytes; MCP logins may stand in it too. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const NEEDED_SCOPE = 'user:inference';

/** The CLI's `.credentials.json`, read off version 2.1.330. `expiresAt` is milliseconds since the epoch. */
const LoginFile = z.looseObject({
  claudeAiOauth: z.looseObject({
    accessToken: z.string(),
    refreshToken: z.string().nullish(),
    expiresAt: z.number().nullish(),
    scopes: z.array(z.string()).default([]),
  }),
  keptFrom: z.string().optional(),
});

/** A Claude Max login as a file holds it. */
export interface Login {
  accessToken: string;
  /** Empty when it cannot be refreshed. */
  refreshToken: string;
  /** Milliseconds since the epoch; infinite when the file does not say. */
  expiresAt: number;
  /** The file's text, to tell whether it has changed. */
  text: string;
  /** The fingerprint of the operator's login this one comes from. */
  origin: string;
}

export type LoginRead = { ok: true; login: Login } | { ok: false; problem: CredentialProblem };

/** Reads a login. Everything that can be wrong with the file is a problem that says what to do. */
export async function readLogin(file: string): Promise<LoginRead> {
  const read = await readText(file);
  if ('problem' in read) {
    return { ok: false, problem: read.problem };
  }
  return parseLogin(read.text, file);
}

/** A login out of the text of a `.credentials.json`. */
export function parseLogin(text: string, file: string): LoginRead {
  const problem = (code: CredentialProblem['code'], message: string): LoginRead => ({
    ok: false,
    problem: { code, message: `${file} ${message}` },
  });
  const json = parsedJson(text);
  if (json === undefined) {
    return problem(
      'not_json',
      'is not JSON. Copy the file ~/.claude/.credentials.json of a signed-in `claude` as it is.',
    );
  }
  const parsed = LoginFile.safeParse(json);
  if (!parsed.success) {
    return problem('no_login', 'holds no Claude login (claudeAiOauth). Run `claude`, then /login, and try again.');
  }
  const { accessToken, refreshToken, expiresAt, scopes } = parsed.data.claudeAiOauth;
  if (accessToken === '') {
    return problem('signed_out', 'holds an empty login: it was signed out. Run `claude`, then /login.');
  }
  if (!isHeaderSafe(accessToken)) {
    return problem('malformed', 'holds a token with spaces or line breaks in it. Run `claude`, then /login.');
  }
  if (!scopes.includes(NEEDED_SCOPE)) {
    return problem('scope', `holds a login without the scope ${NEEDED_SCOPE}. Run \`claude\`, then /login.`);
  }
  const login = {
    ...{ accessToken, refreshToken: refreshToken ?? '', expiresAt: expiresAt ?? Number.POSITIVE_INFINITY, text },
    origin: parsed.data.keptFrom ?? createHash('sha256').update(`${accessToken}\n${refreshToken}`).digest('hex'),
  };
  return { ok: true, login };
}

/** The text of a login file with the tokens and the expiry of another; what else stands in it is kept. */
export function withTokensOf(text: string, newer: string): string {
  const file = LoginFile.parse(JSON.parse(text));
  const { claudeAiOauth } = LoginFile.parse(JSON.parse(newer));
  return JSON.stringify({ ...file, claudeAiOauth: { ...file.claudeAiOauth, ...claudeAiOauth } });
}

/** The text of a login as the service keeps it: the tokens alone, and the operator's login they come from. */
export function asKept(text: string, origin: string): string {
  const { claudeAiOauth } = LoginFile.parse(JSON.parse(text));
  return JSON.stringify({ claudeAiOauth, keptFrom: origin });
}

/** The text with an expiry in the past, which makes the CLI refresh it at once. */
export function asExpired(text: string): string {
  const file = LoginFile.parse(JSON.parse(text));
  return JSON.stringify({ ...file, claudeAiOauth: { ...file.claudeAiOauth, expiresAt: 1 } });
}

/**
 * Replaces a file's text in one step, keeping its owner, and its mode without rights for others.
 * @returns false when this process may not, or cannot because the file is a mount of its own
 */
export async function replaceText(file: string, text: string): Promise<boolean> {
  const target = await realpath(file);
  const before = await stat(target);
  const next = `${target}.${randomBytes(6).toString('hex')}`;
  try {
    await writeFile(next, text, { mode: 0o600, flag: 'wx' });
    await chmod(next, before.mode & 0o660);
    if (before.uid !== process.getuid?.() || before.gid !== process.getgid?.()) {
      await chown(next, before.uid, before.gid);
    }
    await rename(next, target);
    return true;
  } catch (error) {
    if (['EACCES', 'EBUSY', 'EPERM', 'EROFS', 'EXDEV'].includes(errnoOf(error))) {
      return false;
    }
    throw error;
  } finally {
    await rm(next, { force: true }).catch(ignoreReadOnly);
  }
}

/** Whether a secret can stand in a header as it is. */
export function isHeaderSafe(secret: string): boolean {
  return /^[\x21-\x7e]+$/.test(secret);
}

async function readText(file: string): Promise<{ text: string } | { problem: CredentialProblem }> {
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) {
      return { problem: { code: 'not_json', message: `${file} is too large to be a login (${size} bytes).` } };
    }
    return { text: await readFile(file, 'utf8') };
  } catch (error) {
    const uid = process.getuid?.() ?? 'of this process';
    switch (errnoOf(error)) {
      case 'ENOENT':
      case 'ENOTDIR':
        return { problem: { code: 'missing', message: `${file} does not exist. Check the path and the mount.` } };
      case 'EACCES':
      case 'EPERM': {
        const message = `${file} cannot be read by uid ${uid}. Give that user the right to read it.`;
        return { problem: { code: 'unreadable', message } };
      }
      case 'EISDIR': {
        const message = `${file} is a directory. A container makes one where the file to mount is missing: remove it, and mount the file.`;
        return { problem: { code: 'unreadable', message } };
      }
      default:
        throw error;
    }
  }
}

function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

function ignoreReadOnly(error: unknown): void {
  if (!['EACCES', 'EPERM', 'EROFS'].includes(errnoOf(error))) {
    throw error;
  }
}
