import type { Config } from '../config.ts';
import { isLoopbackHost } from '../loopback.ts';
import type { CredentialStatus } from '../protocol/credential-status.ts';
import type { Service } from '../service.ts';

interface Started {
  service: Service;
  config: Config;
  url: string;
  version: string;
  /** The key of the first start, shown this once. */
  firstKey: string | undefined;
  keyFile: string;
}

/** What the operator is told when the service listens: what was found, and what to paste. */
export function startupLines({ service, config, url, version, firstKey, keyFile }: Started): string[] {
  const { binary, credential, isolation } = service;
  const claude = binary.usable ? `${binary.version} at ${binary.path}` : `MISSING: ${binary.problem}`;
  const account = accountText(credential.status());
  const toRun =
    config.role === 'api'
      ? []
      : [`  claude      ${claude}`, `  credential  ${account}`, `  isolation   ${isolation.detail}`];
  const head = [`CC Executor ${version} listens on ${url}`, '', ...toRun, `  storage     ${storageText(config)}`];
  if (config.role === 'worker')
    return [...head, '', 'It takes executions from the queue. Ctrl-C ends it when its runs have ended.'];
  return [
    ...head,
    `  runs        ${config.maxConcurrent} at once, ${config.queueLimit} may wait`,
    `  key         ${keyText({ config, firstKey, keyFile })}`,
    ...(isLoopbackHost(config.server.host) ? [] : ['', NOT_LOOPBACK]),
    '',
    'Try it:',
    `  curl ${url}/v1/execute -H "Authorization: Bearer ${shownKey({ config, firstKey, keyFile })}" \\`,
    `    -H "Content-Type: application/json" -d '{"prompt":"Say hello"}'`,
    '',
    `Documentation: ${url}/docs (any name, the key as password). Ctrl-C ends the service when its runs have ended.`,
  ];
}

/** Which credential won, without its secret. */
function accountText({ kind, problem, description }: CredentialStatus): string {
  if (kind === null) return `NONE: ${problem?.message ?? 'see cc-executor doctor'}`;
  return kind === 'api_key' ? description : `${description}: your own account, for your own use`;
}

const NOT_LOOPBACK =
  '  It listens beyond this machine, and speaks plain HTTP: put a proxy with TLS in front (docs/operations.md).';

/** Where records are kept; a password is not shown. */
function storageText({ redisUrl, dataDirectory, role }: Config): string {
  if (redisUrl === undefined) return `SQLite in ${dataDirectory}`;
  const { protocol, host, pathname } = new URL(redisUrl);
  return `Redis at ${protocol}//${host}${pathname}, files in ${dataDirectory}; this process is ${ROLES[role]}`;
}

const ROLES = { all: 'an API and a worker', api: 'an API', worker: 'a worker' } as const;

type Key = Pick<Started, 'config' | 'firstKey' | 'keyFile'>;

function keyText({ config, firstKey, keyFile }: Key): string {
  if (!config.auth.on)
    return 'NONE IS ASKED FOR (CC_AUTH=off): every program and user of this machine may run commands';
  if (config.apiKey !== undefined) return 'the one in CC_API_KEY';
  if (firstKey === undefined) return `made at the first start, kept in ${keyFile}; a new one: cc-executor keys reset`;
  return `${firstKey}\n              shown this once; this machine's command line finds it in ${keyFile}`;
}

function shownKey({ config, firstKey, keyFile }: Key): string {
  if (config.apiKey !== undefined) return '$CC_API_KEY';
  return firstKey ?? `$(cat ${keyFile})`;
}

/** What the operator is told when the service is asked to end. */
export function endingLine(
  { running, waiting }: { running: number; waiting: number },
  { force, drainMs }: { force: boolean; drainMs: number },
): string {
  const kept = waiting === 0 ? '' : ` ${waiting} that wait are kept for the next start.`;
  if (running === 0) return `Ending.${kept}`;
  const runs = running === 1 ? '1 run' : `${running} runs`;
  if (force) return `Ending ${runs} now.${kept}`;
  return `Ending when ${runs} have ended, in ${Math.round(drainMs / 1000)} s at most.${kept} Once more ends them now.`;
}
