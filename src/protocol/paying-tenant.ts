/**
 * Tenants of callers who pay with their own Claude credential: `claude-` and 32 hex digits. The operator's credential
 * never pays for one of them, and no other tenant may have such a name.
 */
const FORM = /^claude-[0-9a-f]{32}$/;

/** @param digest 32 hex digits or more */
export function payingTenant(digest: string): string {
  return `claude-${digest.slice(0, 32)}`;
}

export function paysByItself(tenant: string): boolean {
  return FORM.test(tenant);
}
