/** The layout step for who pays: spend counters, envelopes of callers' credentials, values and notes. */
export const PAYER_SCHEMA = `
  ALTER TABLE executions ADD COLUMN key_id TEXT;
  ALTER TABLE executions ADD COLUMN envelope TEXT;
  CREATE INDEX executions_with_envelope ON executions (log) WHERE envelope IS NOT NULL;

  CREATE TABLE spend_counters (
    day TEXT NOT NULL,
    name TEXT NOT NULL,
    spent INTEGER NOT NULL,
    reserved INTEGER NOT NULL,
    PRIMARY KEY (day, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE spend_reservations (
    id TEXT PRIMARY KEY,
    day TEXT NOT NULL,
    amount INTEGER NOT NULL,
    counters TEXT NOT NULL,
    due INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX spend_reservations_by_due ON spend_reservations (due) WHERE due IS NOT NULL;
  CREATE INDEX spend_reservations_by_day ON spend_reservations (day);

  CREATE TABLE service_values (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE instance_notes (instance_id TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE IF NOT EXISTS layout (id INTEGER PRIMARY KEY CHECK (id = 1), readable_from INTEGER NOT NULL) STRICT;
  INSERT OR REPLACE INTO layout VALUES (1, 2);
  `;
