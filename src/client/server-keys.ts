import { KeyList, MadeKey, type NewKeyInput, ServiceKey } from '../protocol/key-schemas.ts';
import { callServer } from './call-server.ts';
import { PATIENCE, serverAddress } from './server-address.ts';

/** The keys of a service, whether it is asked over the network or its store is opened on its own machine. */
export interface KeyClient {
  /** The plain key is in what is returned, this once. */
  create(wanted: NewKeyInput): Promise<MadeKey>;
  list(options: { tenant?: string }): Promise<ServiceKey[]>;
  revoke(id: string): Promise<ServiceKey>;
  rotate(id: string, options: { overlapSeconds?: number }): Promise<MadeKey>;
  close(): Promise<void>;
}

/**
 * The keys of a server. Nothing is repeated by itself: an answer that is lost had a key in it that nobody knows.
 * @throws ServiceError as `connectServer`
 */
export function serverKeys({ url, key }: { url: string; key: string | undefined }): KeyClient {
  const server = serverAddress({ url, key, patience: PATIENCE });
  return {
    create: (body) => callServer(server, { method: 'POST', path: 'v1/keys', body }, MadeKey),
    list: async ({ tenant }) =>
      (await callServer(server, { method: 'GET', path: 'v1/keys', query: { tenant } }, KeyList)).keys,
    revoke: (id) => callServer(server, { method: 'DELETE', path: pathOf(id) }, ServiceKey),
    rotate: (id, body) => callServer(server, { method: 'POST', path: `${pathOf(id)}/rotate`, body }, MadeKey),
    close: async () => {},
  };
}

function pathOf(id: string): string {
  return `v1/keys/${encodeURIComponent(id)}`;
}
