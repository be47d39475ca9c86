/** The directories that the operator lends, by tenant and name; absolute paths. */
export type LentWorkspaces = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** The directory that is lent to a tenant under a name; undefined where there is none, or it is lent to others. */
export function lentDirectory(lent: LentWorkspaces, tenant: string, name: string): string | undefined {
  const own = Object.hasOwn(lent, tenant) ? lent[tenant] : undefined;
  return own !== undefined && Object.hasOwn(own, name) ? own[name] : undefined;
}
