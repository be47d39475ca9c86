import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../src/config.ts';
import { has } from '../support/capabilities.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const KEY = 'an-operator-chosen-key-of-enough-characters';

async function fileWith(text: string): Promise<string> {
  const path = join(await temporaryFolder(), 'secret');
  await writeFile(path, text);
  return path;
}

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('secrets in files', () => {
  it('takes the content of a file, without the white space around it, for the variable', async () => {
    const config = loadConfig({
      ANTHROPIC_API_KEY_FILE: await fileWith('sk-ant-api03-from-a-file\n'),
      CLAUDE_CODE_OAUTH_TOKEN_FILE: await fileWith('  sk-ant-oat01-from-a-file\r\n'),
      CC_API_KEY_FILE: await fileWith(KEY),
    });
    expect(config.credentials.apiKey).toBe('sk-ant-api03-from-a-file');
    expect(config.credentials.oauthToken).toBe('sk-ant-oat01-from-a-file');
    expect(config.apiKey).toBe(KEY);
  });

  it('holds the content of a file to the rules of the variable', async () => {
    expect(problemsOf({ CC_API_KEY_FILE: await fileWith('too short') })).toEqual([
      'CC_API_KEY is shorter than 32 characters',
    ]);
  });

  it('refuses a variable that is set together with its file', async () => {
    const path = await fileWith('sk-ant-api03-from-a-file');
    expect(problemsOf({ ANTHROPIC_API_KEY: 'sk-ant-api03-other', ANTHROPIC_API_KEY_FILE: path })).toEqual([
      'ANTHROPIC_API_KEY_FILE and ANTHROPIC_API_KEY are both set; unset one',
    ]);
  });

  it('counts an empty variable beside its file as unset, and an empty file variable too', async () => {
    const path = await fileWith('sk-ant-api03-from-a-file');
    const config = loadConfig({ ANTHROPIC_API_KEY: '', ANTHROPIC_API_KEY_FILE: path, CC_API_KEY_FILE: '' });
    expect(config.credentials.apiKey).toBe('sk-ant-api03-from-a-file');
    expect(config.apiKey).toBeUndefined();
  });

  it('names every file that is of no use at once, beside other wrong settings, and no content', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'folder'));
    await writeFile(join(folder, 'empty'), '\n');
    const problems = problemsOf({
      CC_PORT: 'nowhere',
      CC_API_KEY_FILE: join(folder, 'missing'),
      ANTHROPIC_API_KEY_FILE: join(folder, 'folder'),
      CLAUDE_CODE_OAUTH_TOKEN_FILE: join(folder, 'empty'),
    });
    expect(problems).toEqual([
      'CC_PORT is not a whole number',
      `CC_API_KEY_FILE names ${join(folder, 'missing')}, which does not exist`,
      `ANTHROPIC_API_KEY_FILE names ${join(folder, 'folder')}, which is not a file`,
      `CLAUDE_CODE_OAUTH_TOKEN_FILE names ${join(folder, 'empty')}, which is empty`,
    ]);
  });

  it('does not read a file that is too long for a key', async () => {
    const path = await fileWith('x'.repeat(64 * 1024 + 1));
    expect(problemsOf({ ANTHROPIC_API_KEY_FILE: path })).toEqual([
      `ANTHROPIC_API_KEY_FILE names ${path}, which is longer than any key`,
    ]);
  });

  it.runIf(has('unprivileged'))('names the file and the user when the user may not read it', async () => {
    const path = await fileWith('sk-ant-api03-from-a-file');
    await chmod(path, 0o000);
    expect(problemsOf({ ANTHROPIC_API_KEY_FILE: path })).toEqual([
      `ANTHROPIC_API_KEY_FILE names ${path}, which uid ${process.getuid?.()} may not read; chown it to that user, or open it with chmod`,
    ]);
  });
});
