import type { DatabaseSync } from 'node:sqlite';
import type { InstanceNote } from '../payer-storage.ts';
import { text } from './rows.ts';

export interface ServiceValueTable {
  keep(name: string, value: string): string;
  replace(name: string, value: string | undefined): void;
  get(name: string): string | undefined;
  publish(note: InstanceNote): void;
  /** `alive` says whether an instance's process runs. */
  notes(alive: (instanceId: string) => boolean): InstanceNote[];
}

export function createServiceValueTable(db: DatabaseSync): ServiceValueTable {
  const add = db.prepare('INSERT OR IGNORE INTO service_values VALUES (?, ?)');
  const put = db.prepare('INSERT OR REPLACE INTO service_values VALUES (?, ?)');
  const remove = db.prepare('DELETE FROM service_values WHERE name = ?');
  const find = db.prepare('SELECT value FROM service_values WHERE name = ?');
  const publish = db.prepare('INSERT OR REPLACE INTO instance_notes VALUES (?, ?)');
  const notes = db.prepare('SELECT * FROM instance_notes ORDER BY instance_id');
  const removeNote = db.prepare('DELETE FROM instance_notes WHERE instance_id = ?');
  const get = (name: string): string | undefined => {
    const row = find.get(name);
    return row === undefined ? undefined : text(row, 'value');
  };
  return {
    keep(name, value): string {
      add.run(name, value);
      return get(name) ?? value;
    },
    replace(name, value): void {
      if (value === undefined) remove.run(name);
      else put.run(name, value);
    },
    get,
    publish: ({ instanceId, note }): void => {
      publish.run(instanceId, note);
    },
    notes(alive): InstanceNote[] {
      const all = notes.all().map((row) => ({ instanceId: text(row, 'instance_id'), note: text(row, 'note') }));
      for (const { instanceId } of all.filter((one) => !alive(one.instanceId))) removeNote.run(instanceId);
      return all.filter(({ instanceId }) => alive(instanceId));
    },
  };
}
