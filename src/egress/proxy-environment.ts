/** What is reached without the proxy: the machine of the run itself, where its model gateway and its own servers are. */
const DIRECT = 'localhost,127.0.0.1,::1';

/**
 * What makes curl, wget, git, npm, pip, Python and Claude Code itself use a proxy; some read the names in lower case
 * only. Node's own `fetch` does from 24 on, with `NODE_USE_ENV_PROXY`.
 */
export function proxyEnvironment(url: string): Record<string, string> {
  const variables = { HTTPS_PROXY: url, HTTP_PROXY: url, ALL_PROXY: url, NO_PROXY: DIRECT };
  const lower = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value]));
  return { ...variables, ...lower, NODE_USE_ENV_PROXY: '1' };
}
