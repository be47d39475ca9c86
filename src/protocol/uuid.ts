import { z } from 'zod';

/** A UUID in its lower-case text form. */
export const Uuid = z.string().regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, {
  error: 'is not a UUID in lower-case text form',
});
