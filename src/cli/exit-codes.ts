import type { ErrorCode } from '../protocol/errors.ts';
import type { Execution } from '../protocol/execution.ts';

/** What the command line exits with; the same for every command. */
export const EXIT = { succeeded: 0, failed: 1, usage: 2, timedOut: 3, cancelled: 4, lost: 5, noService: 6 } as const;

export function exitCodeOf({ outcome }: Execution): number {
  switch (outcome?.kind) {
    case 'succeeded':
      return EXIT.succeeded;
    case 'timed_out':
      return EXIT.timedOut;
    case 'cancelled':
      return EXIT.cancelled;
    case 'lost':
      return EXIT.lost;
    default:
      return EXIT.failed;
  }
}

const NO_SERVICE: ReadonlySet<ErrorCode> = new Set([
  'data_folder_unusable',
  'storage_newer',
  'storage_unavailable',
  'shutting_down',
  'address_unusable',
  'isolation_unavailable',
  'not_running',
]);
const USAGE: ReadonlySet<ErrorCode> = new Set([
  'invalid_request',
  'not_found',
  'not_implemented',
  'idempotency_conflict',
  'cursor_in_future',
  'truncated_before',
  'unauthenticated',
  'forbidden',
  'origin_refused',
  'payload_too_large',
]);

export function exitCodeOfError(code: ErrorCode): number {
  if (NO_SERVICE.has(code)) return EXIT.noService;
  return USAGE.has(code) ? EXIT.usage : EXIT.failed;
}
