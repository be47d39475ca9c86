import { z } from 'zod';
import { paysByItself } from './paying-tenant.ts';

/** Whose records they are. It is a folder's name too: lower-case, so that no file system takes two for one. */
export const TenantName = z
  .string()
  .refine((name) => !paysByItself(name), {
    error: 'is not a tenant: claude- and 32 digits name callers who pay with their own Claude credential',
  })
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, {
    error: 'is not a tenant: a-z, 0-9, dot, underscore and hyphen, 63 characters at most, a letter or digit first',
  });

/** The tenant of the operator and of this machine's command line. */
export const OPERATOR_TENANT = 'local';
