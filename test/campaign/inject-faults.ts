import { setTimeout as delay } from 'node:timers/promises';
import type { CampaignNode } from './campaign-node.ts';
import type { Cluster } from './cluster.ts';
import type { PlannedFault } from './fault-plan.ts';

/** A fault as it was injected. Times are in ns of CLOCK_MONOTONIC, as in the journal. */
export interface InjectedFault {
  kind: PlannedFault['kind'];
  on: string;
  from: bigint;
  until: bigint;
}

const POLL_MS = 50;

/**
 * Injects faults one after another, each at its point. What has one is not given another before it has ended, so a fault may hit another
 * target than the planned one, or come later; none is left out.
 */
export class FaultInjector {
  readonly injected: InjectedFault[] = [];
  readonly #cluster: Cluster;
  readonly #busy = new Set<string>();
  readonly #under = new Set<Promise<void>>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /**
   * Resolves when the last one is over and everything is healed.
   * @param accepted how many executions are
   */
  async run(plan: readonly PlannedFault[], accepted: () => number): Promise<void> {
    for (const fault of plan) {
      while (accepted() < fault.after) await delay(POLL_MS);
      const under = this.#inject(fault, await this.#freeTarget(fault)).finally(() => this.#under.delete(under));
      this.#under.add(under);
    }
    await Promise.all(this.#under);
  }

  async #freeTarget({ kind, target }: PlannedFault): Promise<string> {
    const all = this.#targets(kind);
    const first = Math.floor(target * all.length);
    const inOrder = [...all.slice(first), ...all.slice(0, first)];
    for (;;) {
      const free = inOrder.find((name) => !this.#busy.has(name));
      if (free !== undefined) {
        this.#busy.add(free);
        return free;
      }
      await delay(POLL_MS);
    }
  }

  #targets(kind: PlannedFault['kind']): string[] {
    const { apis, workers, nodes } = this.#cluster;
    if (kind === 'kill-redis' || kind === 'freeze-redis') return ['redis'];
    const hit = kind === 'kill-api' ? apis : kind === 'kill-worker' || kind === 'freeze-worker' ? workers : nodes;
    return hit.map(({ name }) => name);
  }

  async #inject(fault: PlannedFault, on: string): Promise<void> {
    const from = process.hrtime.bigint();
    try {
      const node = this.#cluster.nodes.find(({ name }) => name === on);
      await (node === undefined ? this.#toRedis(fault) : toNode(fault, node));
    } finally {
      this.#busy.delete(on);
      this.injected.push({ kind: fault.kind, on, from, until: process.hrtime.bigint() });
    }
  }

  async #toRedis({ kind, lastsMs }: PlannedFault): Promise<void> {
    const { redis } = this.#cluster;
    if (kind === 'kill-redis') {
      await redis.kill();
      await delay(lastsMs);
      await redis.start();
    } else {
      redis.signal('SIGSTOP');
      await delay(lastsMs);
      redis.signal('SIGCONT');
    }
  }
}

async function toNode({ kind, lastsMs, share }: PlannedFault, node: CampaignNode): Promise<void> {
  if (kind === 'kill-api' || kind === 'kill-worker') {
    await node.kill();
    await delay(lastsMs);
    node.start();
  } else if (kind === 'freeze-worker') {
    node.signal('SIGSTOP');
    await delay(lastsMs);
    node.signal('SIGCONT');
  } else if (kind === 'cut' || kind === 'half-open' || kind === 'deaf') {
    node.proxy.fault({ kind }, share);
    await delay(lastsMs);
    node.proxy.heal();
  } else {
    node.proxy.fault({ kind: 'slow', delayMs: 20 + (lastsMs % 400) }, share);
    await delay(lastsMs);
    node.proxy.heal();
  }
}
