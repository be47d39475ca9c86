import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { repositoryOf } from '../../src/executions/repository.ts';
import { toolPaths } from '../../src/isolation/tool-paths.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let folder: string;
const at = (path: string): string => join(folder, path);
const make = (...paths: string[]): void => {
  for (const path of paths) mkdirSync(at(path), { recursive: true });
};

beforeEach(async () => {
  folder = await temporaryFolder();
});

function paths(PATH: string, options: { added?: string[]; environment?: Record<string, string> } = {}): string[] {
  const environment = { PATH, ...options.environment };
  return toolPaths({ environment, added: options.added ?? [], closed: [at('home/data')], home: at('home') });
}

describe('what runs may read of tools', () => {
  it('is the folders of PATH with the libraries beside them, and what the operator adds', () => {
    make('nvm/bin', 'nvm/lib', 'nvm/share', 'plain', 'models');
    const found = paths([at('nvm/bin'), at('plain'), at('missing'), 'relative', '/usr/bin', ''].join(':'), {
      added: [at('models')],
    });
    expect(found).toEqual([at('nvm/bin'), at('nvm/lib'), at('plain'), at('models')]);
  });

  it('is the whole of node_modules for its .bin, which holds links into it', () => {
    make('project/node_modules/.bin');
    expect(paths(at('project/node_modules/.bin'))).toEqual([at('project/node_modules')]);
  });

  it('is both names of a folder that is a link', () => {
    make('real');
    symlinkSync(at('real'), at('link'));
    expect(paths(at('link'))).toEqual([at('link'), at('real')]);
  });

  it('is certificates that the environment names', () => {
    writeFileSync(at('ca.pem'), '');
    expect(paths('', { environment: { NODE_EXTRA_CA_CERTS: at('ca.pem') } })).toEqual([at('ca.pem')]);
  });

  it('is never a folder that holds the home or the data folder, or lies in the data folder', () => {
    make('home/data/bin', 'home/.local/bin', 'home/.local/lib');
    symlinkSync(at('home/data'), at('hidden'));
    const asked = ['/', folder, at('home'), at('home/data'), at('home/data/bin'), at('hidden'), at('home/.local/bin')];
    expect(paths(asked.join(':'))).toEqual([at('home/.local/bin'), at('home/.local/lib')]);
  });
});

describe('the repository of a worktree', () => {
  const worktree = (back: string): void => {
    make('tree', 'repo/.git/worktrees/tree');
    writeFileSync(at('tree/.git'), `gitdir: ${at('repo/.git/worktrees/tree')}\n`);
    writeFileSync(at('repo/.git/worktrees/tree/commondir'), '../..\n');
    writeFileSync(at('repo/.git/worktrees/tree/gitdir'), `${back}\n`);
  };

  it('is the one that names the worktree in turn', async () => {
    worktree(at('tree/.git'));
    expect(await repositoryOf(at('tree'))).toBe(at('repo/.git'));
  });

  it('is not believed where the repository does not know the worktree, as when a run wrote the file', async () => {
    worktree(at('other/.git'));
    expect(await repositoryOf(at('tree'))).toBeUndefined();
    make('secret/.ssh');
    writeFileSync(at('tree/.git'), `gitdir: ${at('secret/.ssh')}\n`);
    expect(await repositoryOf(at('tree'))).toBeUndefined();
  });

  it('is nothing for an ordinary repository, or for none', async () => {
    make('plain', 'repo/.git');
    expect([await repositoryOf(at('plain')), await repositoryOf(at('repo'))]).toEqual([undefined, undefined]);
  });
});
