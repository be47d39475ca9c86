import type { PayerStorage } from '../payer-storage.ts';
import type { RedisCommands } from './connection.ts';
import { getValue, keepValue, listNotes, publishNote, replaceValue } from './service-values.ts';
import { readSpend, reserveSpend, settleSpend } from './spend.ts';

export function createPayerStorage(commands: RedisCommands, instances: { grace: boolean }): PayerStorage {
  return {
    reserveSpend: (reservation) => reserveSpend(commands, reservation),
    settleSpend: (id, microUsd) => settleSpend(commands, id, microUsd),
    readSpend: (day, counter) => readSpend(commands, day, counter),
    keepValue: (name, value) => keepValue(commands, name, value),
    replaceValue: (name, value) => replaceValue(commands, name, value),
    getValue: (name) => getValue(commands, name),
    publishNote: (note) => publishNote(commands, note),
    listNotes: () => listNotes(commands, instances.grace),
  };
}
