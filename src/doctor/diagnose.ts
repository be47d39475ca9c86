import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { findClaude } from '../claude/binary.ts';
import type { Isolation } from '../isolation/isolation.ts';
import type { CredentialFound } from '../model-gateway/credential.ts';
import type { tryCredential } from '../model-gateway/try-credential.ts';
import { ServiceError } from '../protocol/errors.ts';
import type { Finding } from '../protocol/finding.ts';
import type { LentWorkspaces } from '../protocol/lent-workspaces.ts';
import { OPERATOR_TENANT } from '../protocol/tenant.ts';
import { SCHEMA_VERSION } from '../storage/sqlite/schema.ts';
import { openSqliteStorage } from '../storage/sqlite/sqlite-storage.ts';
import { checkCredential, seenInRuns } from './check-credential.ts';
import { checkLauncher, checkRunUser } from './check-launcher.ts';

const LOW_DISK_BYTES = 1024 ** 3;

/** The part of the configuration that is looked at. */
export interface Examined {
  readonly claudeBin: string | undefined;
  readonly dataDirectory: string;
  readonly upstream: string;
  readonly proxy: Parameters<typeof tryCredential>[0]['proxy'];
  readonly runUid: number;
  readonly lentWorkspaces: LentWorkspaces;
}

export interface DiagnoseOptions {
  /** Ask the model API whether it takes the credential. */
  online: boolean;
  findCredential(): Promise<CredentialFound>;
  /** Rejects where the configuration asks for more than there is. */
  proveIsolation(): Promise<Isolation>;
}

/** Looks at everything a run needs. What is wrong is a finding with its repair, never an exception. */
export async function diagnose(config: Examined, options: DiagnoseOptions): Promise<Finding[]> {
  const checks: [string, () => Promise<Omit<Finding, 'name'>[]>][] = [
    ['node', async () => [{ state: 'ok', detail: process.version }]],
    ['claude', () => claude(config)],
    ['storage', () => storage(config)],
    ['disk', () => disk(config)],
    ['credential', () => checkCredential(config, options)],
    ['credential', () => seenInRuns(config)],
    ['launcher', async () => [await checkLauncher()]],
    ['run user', () => runUser(config)],
    ['isolation', () => isolation(options)],
    ['workspaces', async () => lentWorkspaces(config)],
  ];
  const findings: Finding[] = [];
  for (const [name, check] of checks) {
    const found = await check().catch((error: unknown) => [{ state: 'problem' as const, detail: textOf(error) }]);
    findings.push(...found.map((finding) => ({ name, ...finding })));
  }
  return findings;
}

async function runUser({ runUid, claudeBin, dataDirectory }: Examined): Promise<Omit<Finding, 'name'>[]> {
  const binary = await findClaude(claudeBin);
  const folder = existsSync(dataDirectory) && statSync(dataDirectory).isDirectory() ? dataDirectory : '/';
  return checkRunUser({ runUid, claude: binary.usable ? binary.path : undefined, dataDirectory: folder });
}

async function claude(config: Examined): Promise<Omit<Finding, 'name'>[]> {
  const binary = await findClaude(config.claudeBin);
  if (!binary.usable) return [{ state: 'problem', detail: binary.problem }];
  const detail = `${binary.version} at ${binary.path}`;
  return [
    binary.warning === undefined ? { state: 'ok', detail } : { state: 'warn', detail: `${detail}: ${binary.warning}` },
  ];
}

async function storage({ dataDirectory }: Examined): Promise<Omit<Finding, 'name'>[]> {
  try {
    const store = await openSqliteStorage({ dataDirectory });
    try {
      await store.probe();
      const unfinished = await store.listUnfinished();
      const alive = await Promise.all(unfinished.map(({ instanceId }) => store.instanceAlive(instanceId)));
      const left = alive.filter((living) => !living).length;
      const detail = `SQLite in ${dataDirectory} takes writes (layout ${SCHEMA_VERSION})`;
      return left === 0
        ? [{ state: 'ok', detail }]
        : [
            {
              state: 'warn',
              detail: `${detail}; ${left} executions were left by a service that died`,
              repair: 'the next run or list ends them',
            },
          ];
    } finally {
      await store.close();
    }
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return [{ state: 'problem', detail: error.message }];
  }
}

async function disk({ dataDirectory }: Examined): Promise<Omit<Finding, 'name'>[]> {
  const { bavail, bsize } = await statfs(nearestFolder(dataDirectory));
  const free = bavail * bsize;
  const detail = `${(free / 1e9).toFixed(1)} GB free for ${dataDirectory}`;
  return [
    free > LOW_DISK_BYTES
      ? { state: 'ok', detail }
      : { state: 'warn', detail, repair: 'free some space, or set CC_DATA_DIR' },
  ];
}

/** The folder itself, or the one in which it would be made. */
function nearestFolder(path: string): string {
  return existsSync(path) ? path : nearestFolder(dirname(path));
}

async function isolation({ proveIsolation }: DiagnoseOptions): Promise<Omit<Finding, 'name'>[]> {
  try {
    const { level, detail } = await proveIsolation();
    if (level !== 'L1') return [{ state: 'ok', detail }];
    return [
      {
        state: 'warn',
        detail: `${detail}. A run can read and reach whatever its user can`,
        repair: 'give it L2 or L3 (docs/security.md), or a container of its own where the prompts are not yours',
      },
    ];
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return [{ state: 'problem', detail: error.message }];
  }
}

function lentWorkspaces({ lentWorkspaces: lent }: Examined): Omit<Finding, 'name'>[] {
  const entries = Object.entries(lent).flatMap(([tenant, own]) =>
    Object.entries(own).map(([name, path]) => [tenant === OPERATOR_TENANT ? name : `${name}@${tenant}`, path] as const),
  );
  return entries.map(([name, path]) => {
    try {
      accessSync(path, constants.R_OK | constants.X_OK);
      return { state: 'ok', detail: `${name} is ${path}` };
    } catch (error) {
      return { state: 'problem', detail: `${name}: ${textOf(error)}`, repair: 'correct CC_WORKSPACES' };
    }
  });
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
