import type { Principal } from './principal.ts';

/** How often it is asked whether what opened a connection still opens, in ms. */
export const ASK_EVERY_MS = 20_000;

/**
 * Calls `onLapsed` once when what a caller presented opens nothing any more: at its end to the second, and within `everyMs` of
 * its revocation. While nobody can say, because the store is away, the connection stays.
 * @returns how to stop watching
 */
export function watchStanding(principal: Principal, onLapsed: () => void, everyMs: number = ASK_EVERY_MS): () => void {
  const { endsAt } = principal;
  let timer: NodeJS.Timeout;
  let stopped = false;
  const lapse = (): void => {
    if (stopped) return;
    stopped = true;
    onLapsed();
  };
  const ask = async (): Promise<void> => {
    if (endsAt !== undefined && endsAt <= Date.now()) return lapse();
    const stands = await principal.stands().catch(() => true);
    if (!stands) lapse();
    else if (!stopped) wait();
  };
  const wait = (): void => {
    const left = endsAt === undefined ? everyMs : Math.max(0, endsAt - Date.now());
    timer = setTimeout(() => void ask(), Math.min(everyMs, left)).unref();
  };
  wait();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

/** Aborts when the caller's key or token has ended; `ended` stops the watch when nobody is interested any more. */
export function lapseSignal(principal: Principal, ended: AbortSignal): AbortSignal {
  const lapsed = new AbortController();
  const stop = watchStanding(principal, () => lapsed.abort());
  if (ended.aborted) stop();
  else ended.addEventListener('abort', stop, { once: true });
  return lapsed.signal;
}
