import type { DatabaseSync } from 'node:sqlite';
import type { PayerStorage } from '../payer-storage.ts';
import type { Instances } from './instances.ts';
import { createServiceValueTable } from './service-values.ts';
import { createSpendTable } from './spend.ts';
import type { StoreAccess } from './store-access.ts';

export function createPayerStorage(
  db: DatabaseSync,
  { write, read }: StoreAccess,
  instances: Pick<Instances, 'alive'>,
): PayerStorage {
  const spend = createSpendTable(db);
  const values = createServiceValueTable(db);
  return {
    reserveSpend: (reservation) => write(() => spend.reserve(reservation)),
    settleSpend: (id, microUsd) => write(() => spend.settle(id, microUsd)),
    readSpend: (day, counter) => read(() => spend.read(day, counter)),
    keepValue: (name, value) => write(() => values.keep(name, value)),
    replaceValue: (name, value) => write(() => values.replace(name, value)),
    getValue: (name) => read(() => values.get(name)),
    publishNote: (note) => write(() => values.publish(note)),
    listNotes: () => write(() => values.notes((instanceId) => instances.alive(instanceId))),
  };
}
