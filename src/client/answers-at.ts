import { ServiceError } from '../protocol/errors.ts';
import { HealthState } from '../protocol/health.ts';
import { callServer } from './call-server.ts';
import { PATIENCE, serverAddress } from './server-address.ts';

/** On the same machine, a service that lives answers in a moment. */
const REQUEST_MS = 2_000;

/** Whether a service of this kind answers at a URL; it is sent no key. */
export async function answersAt(url: string): Promise<boolean> {
  const server = serverAddress({ url, key: undefined, patience: { ...PATIENCE, requestMs: REQUEST_MS } });
  try {
    await callServer(server, { method: 'GET', path: 'health/live' }, HealthState);
    return true;
  } catch (error) {
    // Whatever else listens there by now is not the service.
    if (error instanceof ServiceError) return false;
    throw error;
  }
}
