import type { DatabaseSync } from 'node:sqlite';
import { CHAIN_START } from '../../protocol/audit.ts';
import { ServiceError } from '../../protocol/errors.ts';
import { integer } from './rows.ts';

/**
 * Step n makes a store of version n + 1 out of one of version n; a released step never changes. `log` is the short key
 * of an execution. What changes with every batch (`last_seq`, `log_bytes`) stands apart from the two documents, which
 * may be megabytes long: SQLite rewrites a row as a whole.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE executions (
    log INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    idempotency_key TEXT,
    state TEXT NOT NULL,
    outcome TEXT,
    session_id TEXT,
    workspace TEXT NOT NULL,
    directory TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    fence INTEGER NOT NULL,
    request_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    log_bytes INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX executions_by_key ON executions (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;
  CREATE INDEX executions_by_age ON executions (tenant, id);
  CREATE INDEX executions_by_state ON executions (tenant, state, id);
  CREATE INDEX executions_by_outcome ON executions (tenant, outcome, id);
  CREATE INDEX executions_by_session ON executions (tenant, session_id, id);
  CREATE INDEX executions_unfinished ON executions (id) WHERE state <> 'finished';
  CREATE INDEX executions_by_end ON executions (finished_at) WHERE finished_at IS NOT NULL;

  CREATE TABLE execution_documents (log INTEGER PRIMARY KEY, execution TEXT NOT NULL) STRICT;
  CREATE TABLE execution_requests (log INTEGER PRIMARY KEY, request TEXT NOT NULL) STRICT;

  CREATE TABLE events (
    log INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    bytes TEXT NOT NULL,
    PRIMARY KEY (log, seq)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE sessions (
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    directory TEXT NOT NULL,
    config_directory TEXT NOT NULL,
    created_at TEXT NOT NULL,
    last_used_at TEXT NOT NULL,
    PRIMARY KEY (tenant, id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE claims (
    key TEXT PRIMARY KEY,
    execution_id TEXT NOT NULL,
    instance_id TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX claims_by_execution ON claims (execution_id);

  CREATE TABLE probe (id INTEGER PRIMARY KEY, writes INTEGER NOT NULL) STRICT;
  INSERT INTO probe VALUES (1, 0);
  `,
  `
  ALTER TABLE executions ADD COLUMN run_id TEXT;
  ALTER TABLE executions ADD COLUMN fresh INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE sessions ADD COLUMN fresh INTEGER NOT NULL DEFAULT 0;
  UPDATE executions SET run_id = id, fresh = (workspace IN (SELECT id FROM executions));
  UPDATE sessions SET fresh = (workspace IN (SELECT id FROM executions));
  CREATE INDEX executions_by_directory ON executions (directory);
  CREATE INDEX sessions_by_directory ON sessions (directory);
  CREATE TABLE keys (id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, created_at TEXT NOT NULL) STRICT;
  `,
  // Layout 2 can go on with this one: what it would take for an unlimited key stands where it does not look.
  `
  CREATE TABLE api_keys (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, created_at TEXT NOT NULL, document TEXT NOT NULL) STRICT;
  CREATE TABLE key_uses (id TEXT PRIMARY KEY, last_used_at TEXT NOT NULL) STRICT;
  CREATE TABLE denied_tokens (tenant TEXT NOT NULL, token_id TEXT NOT NULL, until INTEGER NOT NULL,
    PRIMARY KEY (tenant, token_id)) STRICT, WITHOUT ROWID;
  CREATE INDEX denied_tokens_by_end ON denied_tokens (until);

  ALTER TABLE executions ADD COLUMN key_id TEXT;
  ALTER TABLE executions ADD COLUMN envelope TEXT;
  CREATE INDEX executions_with_envelope ON executions (log) WHERE envelope IS NOT NULL;
  CREATE INDEX executions_unfinished_by_key ON executions (tenant, key_id) WHERE state <> 'finished';

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

  CREATE TABLE starts (owner TEXT NOT NULL, at INTEGER NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (owner, at, id)) STRICT, WITHOUT ROWID;
  CREATE TABLE taken_bytes (owner TEXT NOT NULL, day TEXT NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (owner, day)) STRICT, WITHOUT ROWID;

  CREATE TABLE service_values (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE instance_notes (instance_id TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;

  CREATE TABLE audit (seq INTEGER PRIMARY KEY, time TEXT NOT NULL, bytes TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
  CREATE TABLE audit_cut (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
  INSERT INTO audit_cut VALUES (1, 0, '${CHAIN_START.hash}');
  CREATE TRIGGER audit_follows BEFORE INSERT ON audit
    WHEN NEW.seq <> 1 + coalesce((SELECT max(seq) FROM audit), (SELECT seq FROM audit_cut))
    BEGIN SELECT RAISE(ABORT, 'an entry of the audit log follows the one before it'); END;
  CREATE TRIGGER audit_stands BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'an entry of the audit log is never changed'); END;
  CREATE TRIGGER audit_stays BEFORE DELETE ON audit WHEN OLD.seq > (SELECT seq FROM audit_cut)
    BEGIN SELECT RAISE(ABORT, 'the audit log is cut by retention alone'); END;
  CREATE TRIGGER audit_cut_grows BEFORE UPDATE ON audit_cut WHEN NEW.seq < OLD.seq
    BEGIN SELECT RAISE(ABORT, 'the audit log is cut from its front'); END;

  CREATE TABLE IF NOT EXISTS layout (id INTEGER PRIMARY KEY CHECK (id = 1), readable_from INTEGER NOT NULL) STRICT;
  INSERT OR REPLACE INTO layout VALUES (1, 2);
  `,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

function schemaVersion(db: DatabaseSync): number {
  return integer(db.prepare('PRAGMA user_version').get(), 'user_version');
}

/**
 * A later layout may say, in the one row of its table `layout`, from which one on programs can use it; without that it
 * is readable from itself on (docs/adr/0011-records-of-other-versions.md).
 */
function readableFrom(db: DatabaseSync, version: number): number {
  const table = db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'layout'").get();
  if (table === undefined) return version;
  const row = db.prepare('SELECT readable_from FROM layout').get();
  return row === undefined ? version : integer(row, 'readable_from');
}

/** @throws ServiceError `storage_newer` when this version of the program cannot use the store's layout. */
export function refuseNewerSchema(db: DatabaseSync, file: string): void {
  const version = schemaVersion(db);
  if (version > SCHEMA_VERSION && readableFrom(db, version) > SCHEMA_VERSION) {
    const message = `The store ${file} has layout version ${version}, written by a newer cc-executor; this one knows up to version ${SCHEMA_VERSION}. Run the newer version again, or point this one at another data folder. Nothing was changed.`;
    throw new ServiceError('storage_newer', message);
  }
}

/**
 * Brings an older store to this program's layout in one transaction, and leaves a later one that it can use as it is;
 * the version is read again under its lock.
 */
export function migrate(db: DatabaseSync, file: string): void {
  db.exec('BEGIN IMMEDIATE');
  try {
    refuseNewerSchema(db, file);
    const version = schemaVersion(db);
    for (const step of MIGRATIONS.slice(version)) {
      db.exec(step);
    }
    if (version < SCHEMA_VERSION) {
      db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
    }
    db.exec('COMMIT');
  } finally {
    if (db.isTransaction) {
      db.exec('ROLLBACK');
    }
  }
}
