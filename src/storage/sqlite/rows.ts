import type { SQLOutputValue } from 'node:sqlite';

export type Row = Record<string, SQLOutputValue>;

/** The text in a column; anything else there is a damaged store, which is a defect to this process. */
export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') {
    throw new Error(`column ${column} of the store holds ${typeof value} where text belongs`);
  }
  return value;
}

/** The integer in a column; an SQL aggregate over no rows counts as 0. */
export function integer(row: Row | undefined, column: string): number {
  const value = row?.[column] ?? 0;
  if (typeof value !== 'number') {
    throw new Error(`column ${column} of the store holds ${typeof value} where a number belongs`);
  }
  return value;
}
