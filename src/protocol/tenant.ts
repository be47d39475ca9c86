import { z } from 'zod';

/** Whose records they are. It is a folder's name too: lower-case, so that no file system takes two for one. */
export const TenantName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, {
  error: 'is not a tenant: a-z, 0-9, dot, underscore and hyphen, 63 characters at most, a letter or digit first',
});

/** The tenant of the operator and of this machine's command line. */
export const OPERATOR_TENANT = 'local';
