import { ServiceError } from '../protocol/errors.ts';

/** What one upload may still write. */
export interface Allowance extends Disposable {
  /** @throws ServiceError `payload_too_large` where so many more bytes would not fit */
  check(bytes: number): void;
  /**
   * Counts bytes that are about to be written.
   * @throws as `check`
   */
  take(bytes: number): void;
}

/** Holds every workspace to the same number of bytes, also where several uploads into one go on at once. */
export interface Quota {
  /**
   * @param workspace what tells this workspace from others
   * @param measure says how many bytes it holds now
   * @throws ServiceError `payload_too_large` where it holds too much already
   */
  begin(workspace: string, measure: () => Promise<number>): Promise<Allowance>;
}

interface Meter {
  uploads: number;
  /** The bytes that all uploads of this moment have written since the first of them began. */
  written: number;
}

export function createQuota(quotaBytes: number): Quota {
  const meters = new Map<string, Meter>();
  return {
    async begin(workspace, measure) {
      const meter = meters.get(workspace) ?? { uploads: 0, written: 0 };
      meters.set(workspace, meter);
      meter.uploads += 1;
      const end = (): void => {
        meter.uploads -= 1;
        if (meter.uploads === 0) meters.delete(workspace);
      };
      // What others write from here on may be in the measure as well: then it counts twice, never not at all.
      const writtenBefore = meter.written;
      using beginning = new DisposableStack();
      beginning.defer(end);
      const held = await measure();
      const check = (bytes: number): void => {
        if (held + meter.written - writtenBefore + bytes > quotaBytes) throw overQuota(quotaBytes, held);
      };
      const take = (bytes: number): void => {
        check(bytes);
        meter.written += bytes;
      };
      check(0);
      beginning.move();
      return { check, take, [Symbol.dispose]: end };
    },
  };
}

function overQuota(quotaBytes: number, held: number): ServiceError {
  return new ServiceError(
    'payload_too_large',
    `The workspace may hold ${quotaBytes} bytes and held ${held} before; remove files, or send less`,
  );
}
