import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/protocol/errors.ts';
import { answerFrame, type Method } from '../../src/transport/websocket/json-rpc.ts';

const INVALID = '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}';

const heard: unknown[] = [];
const numbers = (params: unknown): number[] => (Array.isArray(params) ? params.map(Number) : []);
const METHODS: Record<string, Method> = {
  subtract: async (params) => {
    const named = new Map(Object.entries(params ?? {}));
    const [minuend, subtrahend] = Array.isArray(params) ? params : [named.get('minuend'), named.get('subtrahend')];
    return Number(minuend) - Number(subtrahend);
  },
  sum: async (params) => numbers(params).reduce((sum, value) => sum + value, 0),
  update: async (params) => heard.push(params),
  notify_sum: async (params) => heard.push(params),
  notify_hello: async (params) => heard.push(params),
  get_data: async () => ['hello', 5],
  nothing: async () => undefined,
  refuse: async () => {
    throw new ServiceError('conflict', 'It has finished', { data: { state: 'finished' } });
  },
  refuseParams: async () => {
    const errors = [{ path: 'a', message: 'is missing' }];
    throw new ServiceError('invalid_request', 'a is missing', { data: { errors } });
  },
  break: () => {
    throw new Error('a secret of the implementation');
  },
};

const defects: unknown[] = [];
const answer = (text: string): Promise<string | undefined> =>
  answerFrame({ methods: METHODS, onDefect: (error) => defects.push(error) }, text);

/** The examples are printed with spaces that answers do not have. */
const compact = (printed: string): string => JSON.stringify(JSON.parse(printed));

/** https://www.jsonrpc.org/specification, section 7; `undefined` for no answer. */
const SECTION_7: [title: string, request: string, response: string | undefined][] = [
  [
    'positional parameters',
    '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
    '{"jsonrpc": "2.0", "result": 19, "id": 1}',
  ],
  [
    'positional parameters, the other way round',
    '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
    '{"jsonrpc": "2.0", "result": -19, "id": 2}',
  ],
  [
    'named parameters',
    '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
    '{"jsonrpc": "2.0", "result": 19, "id": 3}',
  ],
  [
    'named parameters in another order',
    '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
    '{"jsonrpc": "2.0", "result": 19, "id": 4}',
  ],
  ['a notification', '{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', undefined],
  ['a notification of an unknown method', '{"jsonrpc": "2.0", "method": "foobar"}', undefined],
  [
    'an unknown method',
    '{"jsonrpc": "2.0", "method": "foobar", "id": "1"}',
    '{"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "1"}',
  ],
  [
    'invalid JSON',
    '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
    '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
  ],
  [
    'an invalid request object',
    '{"jsonrpc": "2.0", "method": 1, "params": "bar"}',
    '{"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null}',
  ],
  [
    'a batch that is invalid JSON',
    '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]',
    '{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null}',
  ],
  ['an empty array', '[]', INVALID],
  ['an invalid batch that is not empty', '[1]', `[${INVALID}]`],
  ['an invalid batch', '[1,2,3]', `[${INVALID},${INVALID},${INVALID}]`],
  [
    'a batch',
    `[
      {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
      {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
      {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
      {"foo": "boo"},
      {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
      {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
    ]`,
    `[
      {"jsonrpc": "2.0", "result": 7, "id": "1"},
      {"jsonrpc": "2.0", "result": 19, "id": "2"},
      {"jsonrpc": "2.0", "error": {"code": -32600, "message": "Invalid Request"}, "id": null},
      {"jsonrpc": "2.0", "error": {"code": -32601, "message": "Method not found"}, "id": "5"},
      {"jsonrpc": "2.0", "result": ["hello", 5], "id": "9"}
    ]`,
  ],
  [
    'a batch of notifications',
    '[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]}, {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]',
    undefined,
  ],
];

describe('the examples of the specification', () => {
  test.each(SECTION_7)('%s is answered to the byte', async (_, request, response) => {
    expect(await answer(request)).toBe(response === undefined ? undefined : compact(response));
  });

  test('notifications are carried out', async () => {
    heard.length = 0;
    await answer('[{"jsonrpc":"2.0","method":"notify_sum","params":[1,2,4]},{"jsonrpc":"2.0","method":"update"}]');
    expect(heard).toEqual([[1, 2, 4], undefined]);
  });
});

describe('ids', () => {
  test.each(['"a"', '""', '0', '-7', '1.5', 'null', '9007199254740991'])('%s is given back', async (id) => {
    const request = `{"jsonrpc":"2.0","method":"nothing","id":${id}}`;
    expect(await answer(request)).toBe(`{"jsonrpc":"2.0","result":null,"id":${id}}`);
  });

  test.each(['{}', '[1]', 'true', '1e999'])('%s is no id', async (id) => {
    expect(await answer(`{"jsonrpc":"2.0","method":"nothing","id":${id}}`)).toBe(INVALID);
  });

  test('a number that would come back as another one is refused, and the answer says why', async () => {
    const reply = await answer('{"jsonrpc":"2.0","method":"nothing","id":9007199254740993}');
    expect(JSON.parse(reply ?? '')).toMatchObject({
      error: { code: -32600, data: { errors: [{ path: 'id', message: expect.stringContaining('use a string') }] } },
      id: null,
    });
  });
});

describe('requests that are not valid', () => {
  test.each([
    ['another version', '{"jsonrpc":"1.0","method":"nothing","id":1}'],
    ['no version', '{"method":"nothing","id":1}'],
    ['params that are text', '{"jsonrpc":"2.0","method":"nothing","params":"a","id":1}'],
    ['params that are null', '{"jsonrpc":"2.0","method":"nothing","params":null,"id":1}'],
    ['a response', '{"jsonrpc":"2.0","result":1,"id":1}'],
    ['text', '"nothing"'],
  ])('%s is an invalid request', async (_, request) => {
    expect(await answer(request)).toBe(INVALID);
  });

  test.each(['constructor', 'toString', '__proto__', 'rpc.discover'])('%s is no method', async (name) => {
    const reply = JSON.parse((await answer(`{"jsonrpc":"2.0","method":"${name}","id":1}`)) ?? '');
    expect(reply.error).toEqual({ code: -32601, message: 'Method not found' });
  });

  test.each([
    ['a __proto__ key', '{"jsonrpc":"2.0","method":"sum","params":{"__proto__":{}},"id":1}', '__proto__'],
    ['a key given twice', '{"jsonrpc":"2.0","method":"sum","method":"update","id":1}', 'twice'],
    ['200,000 brackets', '['.repeat(200_000) + ']'.repeat(200_000), 'deeper'],
  ])('%s is refused with what is wrong', async (_, request, words) => {
    const reply = JSON.parse((await answer(request)) ?? '');
    expect(reply).toMatchObject({ error: { code: -32600, message: 'Invalid Request' }, id: null });
    expect(reply.error.data.errors[0].message).toContain(words);
  });

  test('brackets that are never closed are a parse error', async () => {
    expect(await answer('['.repeat(200_000))).toContain('-32700');
  });
});

describe('batches', () => {
  const call = (method: string, id: number): string => `{"jsonrpc":"2.0","method":"${method}","id":${id}}`;

  test('a batch of 100 is answered, one of 101 is refused as a whole', async () => {
    const calls = Array.from({ length: 101 }, (_, id) => call('nothing', id));
    expect(JSON.parse((await answer(`[${calls.slice(1).join()}]`)) ?? '')).toHaveLength(100);
    const refused = JSON.parse((await answer(`[${calls.join()}]`)) ?? '');
    expect(refused).toMatchObject({ error: { code: -32600 }, id: null });
    expect(refused.error.data.errors[0].message).toContain('at most 100');
  });

  test('members run one after the other, whatever they take', async () => {
    const order: string[] = [];
    const slow: Method = async () => {
      order.push('slow starts');
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push('slow ends');
    };
    const quick: Method = async () => order.push('quick');
    const deps = { methods: { slow, quick }, onDefect: () => {} };
    await answerFrame(deps, `[${call('slow', 1)},{"jsonrpc":"2.0","method":"slow"},${call('quick', 2)}]`);
    expect(order).toEqual(['slow starts', 'slow ends', 'slow starts', 'slow ends', 'quick']);
  });

  test('a batch whose answer has grown too long calls nothing more', async () => {
    const long: Method = async () => 'x'.repeat(20 * 1024 * 1024);
    const reply = await answerFrame(
      { methods: { long }, onDefect: () => {} },
      `[${[1, 2, 3, 4].map((id) => call('long', id)).join()}]`,
    );
    const answers: { error?: { data: { code: string } }; id: number }[] = JSON.parse(reply ?? '');
    expect(answers.map(({ error, id }) => [id, error?.data.code])).toEqual([
      [1, undefined],
      [2, undefined],
      [3, 'too_many'],
      [4, 'too_many'],
    ]);
  });
});

describe('errors of methods', () => {
  test('a refusal has the code of the error table and its facts', async () => {
    expect(await answer('{"jsonrpc":"2.0","method":"refuse","id":1}')).toBe(
      '{"jsonrpc":"2.0","error":{"code":1003,"message":"It has finished","data":{"code":"conflict","retryable":false,"state":"finished"}},"id":1}',
    );
  });

  test('wrong parameters are named', async () => {
    expect(JSON.parse((await answer('{"jsonrpc":"2.0","method":"refuseParams","id":1}')) ?? '').error).toEqual({
      code: -32602,
      message: 'a is missing',
      data: { code: 'invalid_request', retryable: false, errors: [{ path: 'a', message: 'is missing' }] },
    });
  });

  test('a defect is reported inside, and tells the caller nothing', async () => {
    defects.length = 0;
    expect(await answer('{"jsonrpc":"2.0","method":"break","id":1}')).toBe(
      '{"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error","data":{"code":"internal","retryable":false}},"id":1}',
    );
    expect(await answer('{"jsonrpc":"2.0","method":"break"}')).toBeUndefined();
    expect(defects).toHaveLength(2);
  });
});
