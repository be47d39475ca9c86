import { z } from 'zod';

/** What a caller may be allowed to do. `admin` is all of it, and the keys of the tenant. */
export const SCOPES = ['executions:read', 'executions:write', 'workspaces:read', 'workspaces:write', 'admin'] as const;
export const Scope = z.enum(SCOPES);
export type Scope = z.infer<typeof Scope>;

/** What a route or a method asks of its caller: a scope, any valid key (`any`), or nothing at all (`open`). */
export type Access = Scope | 'any' | 'open';

export const SCOPE_TEXTS: Readonly<Record<Scope, string>> = {
  'executions:read': 'Read executions, their events and their output.',
  'executions:write': 'Start, steer and delete executions; what they answer shows the execution.',
  'workspaces:read': 'Read files of workspaces.',
  'workspaces:write': 'Write files of workspaces.',
  admin:
    'All of these, and the keys of the tenant. With the tenant `local`: the operator, with the keys of all tenants.',
};

/** Whether a caller with these scopes may do what asks for `needed`. */
export function grants(scopes: readonly Scope[], needed: Access): boolean {
  if (needed === 'open' || needed === 'any') return true;
  return scopes.includes('admin') || scopes.includes(needed);
}

/** Whether `access` names a scope. */
export function isScope(access: Access): access is Scope {
  return access !== 'open' && access !== 'any';
}
