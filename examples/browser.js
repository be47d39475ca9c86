/**
 * Runs a task from a web page over a WebSocket and follows it, also over lost connections. Nothing is imported; see
 * browser.html. The page's origin must stand in CC_ALLOWED_ORIGINS, unless the service itself serves it.
 *
 * @param {{ url: string, key: string, prompt: string, onEvent: (event: object) => void }} options
 * @returns {Promise<object>} the finished execution
 */
export async function runTask({ url, key, prompt, onEvent }) {
  // Sent again after a lost connection, the same key and request give the same execution.
  const task = { request: { prompt, idempotencyKey: crypto.randomUUID() }, executionId: undefined, after: 0 };
  for (;;) {
    const { execution, refusal } = await follow(task, { url, key, onEvent });
    if (execution !== undefined) return execution;
    if (refusal !== undefined) throw new Error(refusal);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** One connection. Resolves with the finished execution, with why the service refused, or with nothing when it was lost. */
async function follow(task, { url, key, onEvent }) {
  // A page cannot set headers for a WebSocket: the key goes along as a subprotocol, which is not given back.
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/v1/ws`, ['cc-executor.v1', `cc-executor.key.${key}`]);
  const call = (method, params) => socket.send(JSON.stringify({ jsonrpc: '2.0', id: method, method, params }));
  const end = new Promise((resolve) => {
    const taken = {
      execute: ({ result }) => {
        task.executionId = result.id;
      },
      event: ({ params }) => {
        task.after = params.seq;
        onEvent(params);
        if (params.type === 'execution.finished') call('executions.get', { executionId: params.executionId });
      },
      'executions.get': ({ result }) => resolve({ execution: result }),
    };
    socket.onopen = () => {
      if (task.executionId === undefined) call('execute', task.request);
      else call('subscribe', { executionId: task.executionId, after: task.after });
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.error === undefined) taken[message.id ?? message.method]?.(message);
      else resolve({ refusal: message.error.message });
    };
    socket.onclose = ({ code }) => {
      const refused = code === 4401 || code === 4403;
      resolve(refused ? { refusal: `the service refused the page (${code})` } : {});
    };
  });
  return end.finally(() => socket.close());
}
