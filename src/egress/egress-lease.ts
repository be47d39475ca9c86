import { createHash, randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { type EgressList, listAllows } from '../protocol/egress-rule.ts';
import { notListed, notPublic, type ProxyRefusal, TOO_MANY } from './proxy-refusal.ts';
import type { Target } from './proxy-target.ts';

/** Tunnels and requests of one run at once; package managers open some dozens. */
export const MAX_CONNECTIONS = 128;
/** Hosts of one run that are told about; later ones are counted alone. */
const MAX_TOLD = 100;

export interface EgressDenial {
  host: string;
  port: number;
  /** `not_listed`: the run's list does not have it. `not_public`: its address is in no public network. */
  reason: 'not_listed' | 'not_public';
}

/** A run that goes out through a lease. */
export interface EgressRun {
  executionId: string;
  list: EgressList;
  /** Called at the first refusal of each host and port, for 100 of them. */
  onDenied(denial: EgressDenial): void;
}

export interface EgressUse {
  connections: number;
  denied: number;
  /** By the run, and to it. */
  bytesSent: number;
  bytesReceived: number;
}

/**
 * The way out of one process. `waiting` (nobody uses the process yet, and everything is refused) → `open` (a run does) →
 * `closed`, when all its connections are cut.
 */
export class EgressLease {
  /** The password in the proxy's URL: 192 random bits. */
  readonly token: string = `cce_${randomBytes(24).toString('base64url')}`;
  readonly use: EgressUse = { connections: 0, denied: 0, bytesSent: 0, bytesReceived: 0 };
  readonly #closing = new AbortController();
  readonly #streams = new Set<Duplex>();
  readonly #told = new Set<string>();
  #run: EgressRun | undefined;
  #active = 0;

  /** The execution that goes out through it; undefined while it waits. */
  get executionId(): string | undefined {
    return this.#run?.executionId;
  }

  /** Aborts when the lease closes. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  allow(run: EgressRun): void {
    this.#run = run;
  }

  /** Cuts all connections, at once, and takes no more. */
  close(): void {
    this.#closing.abort();
    for (const stream of this.#streams) stream.destroy();
  }

  /** Why a target is refused before anything is asked about it; `undefined` when it is let through. */
  refusal(target: Target): ProxyRefusal | undefined {
    if (this.#run !== undefined && listAllows(this.#run.list, target.host, target.port)) {
      return this.#active >= MAX_CONNECTIONS ? TOO_MANY : undefined;
    }
    this.#deny(target, 'not_listed');
    return notListed(target.shown);
  }

  refuseAddress(target: Target): ProxyRefusal {
    this.#deny(target, 'not_public');
    return notPublic(target.shown);
  }

  /** Counts a connection as long as `act` lasts. */
  async during<T>(act: () => Promise<T>): Promise<T> {
    this.use.connections += 1;
    this.#active += 1;
    try {
      return await act();
    } finally {
      this.#active -= 1;
    }
  }

  /** Makes a stream end with the lease. */
  hold(stream: Duplex): void {
    if (this.#streams.has(stream)) return;
    this.#streams.add(stream);
    stream.once('close', () => this.#streams.delete(stream));
    if (this.closed.aborted) stream.destroy();
  }

  #deny({ host, port, shown }: Target, reason: EgressDenial['reason']): void {
    this.use.denied += 1;
    if (this.#run === undefined || this.#told.has(shown) || this.#told.size >= MAX_TOLD) return;
    this.#told.add(shown);
    this.#run.onDenied({ host: host.kind === 'name' ? host.name : host.address, port, reason });
  }
}

/** Looks leases up by what a client presents, in the same time whatever that is. */
export class Leases {
  readonly #byHash = new Map<string, EgressLease>();

  add(lease: EgressLease): void {
    this.#byHash.set(hash(lease.token), lease);
  }

  remove(lease: EgressLease): void {
    this.#byHash.delete(hash(lease.token));
  }

  /** @param authorization the `Proxy-Authorization` header: `Basic`, with the token as the password */
  find(authorization: string | undefined): EgressLease | undefined {
    const encoded = /^basic +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (encoded === undefined) return undefined;
    const decoded = Buffer.from(encoded, 'base64').toString('utf8');
    return this.#byHash.get(hash(decoded.slice(decoded.indexOf(':') + 1)));
  }

  all(): EgressLease[] {
    return [...this.#byHash.values()];
  }
}

function hash(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
