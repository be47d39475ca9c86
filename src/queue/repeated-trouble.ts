const SILENT_MS = 10_000;

/**
 * Passes on the first of many troubles, and then at most one every 10 s, with how many were left out before it.
 */
export function repeatedTrouble(report: (error: unknown, leftOut: number) => void): (error: unknown) => void {
  let last = -SILENT_MS;
  let leftOut = 0;
  return (error) => {
    const now = performance.now();
    if (now - last < SILENT_MS) {
      leftOut += 1;
      return;
    }
    last = now;
    report(error, leftOut);
    leftOut = 0;
  };
}
