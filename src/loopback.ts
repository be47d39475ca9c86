import { isIP } from 'node:net';

/** Whether nothing but this machine reaches a host, as CC_HOST or a URL names it. */
export function isLoopbackHost(host: string): boolean {
  if (host === 'localhost' || host === '::1' || host === '[::1]') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}
