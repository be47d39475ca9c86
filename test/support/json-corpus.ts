/**
 * What a text is to a strict reader of JSON: `json` (RFC 8259), `broken` (not JSON), or `ambiguous` (JSON that readers
 * understand differently, or that no request of the contract comes near; refused too).
 */
export type Verdict = 'json' | 'broken' | 'ambiguous';

export interface JsonCase {
  verdict: Verdict;
  text: string;
}

const JSON_TEXTS: readonly string[] = [
  // Structures, and blanks between them.
  ...['[]', '{}', '[[]]', '[[],[[]]]', '[{}]', '{"a":[]}', ' [1] ', '[1\n]', '\t[1]\r\n', '[ ]', '{ }', '[1 , 2]'],
  ...['{"a":1}', '{"":1}', '{"a" : 1}', '{\n"a"\t:\r1}', '{"a":1,"b":2}', '[null,1,"1",{}]', '[1,2,3]'],
  // Bare values.
  ...['null', 'true', 'false', '""', '"a"', ' 0 ', '[""]', '[true,false,null]'],
  // Numbers, also those that no double holds.
  ...['0', '-0', '-1', '10', '1.5', '-0.0', '0.0', '1e5', '1E5', '1e+5', '1e-5', '0e1', '0e+1', '-0e-0', '1.5E+10'],
  ...['1e999', '-1e999', '1e-999', '[123e65]', '[-123123e100000]', '12345678901234567890', '9'.repeat(400)],
  `0.${'1'.repeat(400)}`,
  // Strings: every escape, every range, surrogates with and without their other half.
  ...['"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\u0022"', '"\\u005C"', '"\\u00e9"', '"\\uFFFF"'],
  ...[
    '"\\ud834\\udd1e"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\udc00\\ud800"',
    '"\\uDBFF\\uDBFF"',
    '"\\ud800x"',
    '"\\\\u0061"',
  ],
  ...[
    '"\u007f"',
    '"\u2028\u2029"',
    '"\u{1d11e}"',
    '"€"',
    '"\uffff"',
    '"\ufeff"',
    '"/* text */"',
    '"//"',
    '"[{"',
    '"\\\\\\""',
  ],
  // Keys that look special and are not, and the same key in different objects.
  ...['{"a":{"a":1}}', '{"a":1,"b":[{"a":2},{"a":3}]}', '{"a":"a"}', '{"a":":"}', '{"a":["a","a"]}', '{"A":1,"a":2}'],
  ...['{"constructor":{"prototype":{}}}', '{"prototype":1}', '{"toString":1,"hasOwnProperty":2,"valueOf":3}'],
  ...[
    '["__proto__"]',
    '{"a":"__proto__"}',
    '{"__proto":1}',
    '{"__PROTO__":1}',
    '{"x":"\\"","y":"\\\\"}',
    '{"a\\"":1,"a":2}',
  ],
  nested('[', 64, ']'),
  nested('{"a":', 63, '}', '{}'),
];

const BROKEN: readonly string[] = [
  // Nothing, or too little.
  ...['', ' ', '\n', '[', '{', ']', '}', '[[', '[1', '[1,', '["a"', '["a', '{"a', '{"a"', '{"a":', '{"a":1', '{"a":1,'],
  ...['[{', '{"a":[', '[1}', '{"a":1]', '"', '"a', '"\\', '"\\"', '-', '[nul]', 'tru', 'fals'],
  // Too much.
  ...['[1]]', '{}}', '[][]', '{}{}', '1 2', '"a" "b"', '[1]x', '{"a":1}#', '[1]\0', '{"a":1}\0', 'null,', '[1];'],
  // Commas and colons.
  ...['[1,]', '[,1]', '[,]', '[1,,2]', '[1 2]', '[1:2]', '[1;2]', '{"a":1,}', '{,"a":1}', '{"a":1,,"b":2}', '{"a" 1}'],
  ...[
    '{"a"::1}',
    '{"a":1 "b":2}',
    '{"a","b"}',
    '{"a":}',
    '{:1}',
    '{"a"=1}',
    '{"a":1;"b":2}',
    '{"a":1:2}',
    '{"a"}',
    ',',
    ':',
  ],
  // Keys that are no strings.
  ...['{a:1}', "{'a':1}", '{1:1}', '{null:1}', '{[]:1}', '{{}:1}', '{"a":1,b:2}', '{a}'],
  // Words of other languages.
  ...[
    'True',
    'TRUE',
    'NULL',
    'None',
    'nil',
    'undefined',
    'NaN',
    '-NaN',
    '[NaN]',
    'Infinity',
    '-Infinity',
    '[+Infinity]',
  ],
  ...['nulll', 'new Date()', '(1)', '[*]', '`a`', '@', '$', '<a/>', '%7B%7D', '---\na: 1', '[\\u0041]', '1n'],
  // Numbers of other languages.
  ...[
    '+1',
    '++1',
    '--1',
    '- 1',
    '01',
    '-01',
    '00',
    '1.',
    '-1.',
    '.5',
    '-.5',
    '1.e5',
    '1e',
    '1e+',
    '1E-',
    '1eE2',
    '1.2.3',
  ],
  ...['1e2.3', '0x1F', '0b1', '0o7', '1_000', '1,000', '1a', '\uff11', '0.e1', '1 000', '[1e1e1]'],
  // Strings of other languages, and what a string may not hold.
  ...["'a'", "['a']", '"\\x41"', '"\\a"', '"\\0"', '"\\\'"', '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u123g"'],
  ...['"\\U0041"', '"\\u{41}"', '"\\\n"', '"\n"', '"\t"', '"\0"', '"\u001f"', 'a"', '"a\\', '"""', '"\\ "'],
  // Comments.
  ...['[1]//c', '[1]/*c*/', '/*c*/[1]', '//c\n[1]', '#c\n[1]', '{"a":/*c*/1}', '[1,/*c*/2]', '{/**/}'],
  // Blanks that are none in JSON, and marks of an encoding.
  ...[
    '\ufeff[1]',
    '\ufeff',
    '\u00a0[1]',
    '[1\u00a0]',
    '\u2028[1]',
    '\f[1]',
    '[1\v]',
    '\u2060[1]',
    '[\u3000]',
    '\ufffe[1]',
  ],
  '['.repeat(200_000),
  '{"a":'.repeat(200_000),
];

const AMBIGUOUS: readonly string[] = [
  // The same key twice, however it is spelt and wherever it stands.
  ...['{"a":1,"a":2}', '{"a":1,"a":1}', '{"":1,"":2}', '[{"a":1,"a":2}]', '{"b":{"a":1,"a":2}}', '{"a":1,"b":2,"a":3}'],
  ...[
    '{"a":1,"\\u0061":2}',
    '{"\\u0061":1,"a":2}',
    '{"\\u0061":1,"\\u0061":2}',
    '{"/":1,"\\/":2}',
    '{"\\n":1,"\\u000a":2}',
  ],
  ...['{"\\"":1,"\\u0022":2}', '{"\\\\":1,"\\u005c":2}', '{"é":1,"\\u00E9":2}', '{"\u{1f600}":1,"\\ud83d\\ude00":2}'],
  ...['{"a" :1,"a"\n\t\r :2}', '{"a":[{"a":{"a":1}}],"a":2}', '{"a":{"b":1},"a":{"c":2}}', '{"a":"}","a":"{"}'],
  // The key that sets a prototype where a program is careless.
  ...['{"__proto__":1}', '{"__proto__":{"a":1}}', '[[{"__proto__":null}]]', '{"a":{"b":{"__proto__":[]}}}'],
  ...['{"\\u005f_proto__":1}', '{"\\u005f\\u005fproto\\u005F\\u005F":{}}', '{"a":1,"__proto__" :2}'],
  // Deeper than any request.
  nested('[', 65, ']'),
  nested('{"a":', 64, '}', '{}'),
  nested('[{"a":', 33, '}]', '1'),
  nested('[', 200_000, ']'),
  nested('{"a":', 200_000, '}', '1'),
  // More values than any request.
  `[${'[],'.repeat(1_000_000)}1]`,
  `{${Array.from({ length: 1_000_000 }, (_, at) => `"k${at}":1`).join()}}`,
];

/** Over 300 texts, after the ideas of JSONTestSuite (https://github.com/nst/JSONTestSuite). */
export const JSON_CORPUS: readonly JsonCase[] = [
  ...JSON_TEXTS.map((text) => ({ verdict: 'json' as const, text })),
  ...BROKEN.map((text) => ({ verdict: 'broken' as const, text })),
  ...AMBIGUOUS.map((text) => ({ verdict: 'ambiguous' as const, text })),
];

/** Bytes that are no UTF-8 text, or not JSON in UTF-8 without a mark. */
export function undecodable(json: string): [what: string, bytes: Buffer][] {
  const utf16 = Buffer.from(json, 'utf16le');
  return [
    ['UTF-16, little end first', utf16],
    ['UTF-16, big end first', Buffer.from(utf16).swap16()],
    ['UTF-16 with a mark', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16])],
    ['UTF-8 with a mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(json)])],
    ...Object.entries({
      'a lone continuation byte': [0x80],
      'a sequence that is cut off': [0xe2, 0x82],
      'an overlong slash': [0xc0, 0xaf],
      'an overlong NUL': [0xe0, 0x80, 0x80],
      'a surrogate': [0xed, 0xa0, 0x80],
      'a character above U+10FFFF': [0xf4, 0x90, 0x80, 0x80],
      'a byte that never stands in UTF-8': [0xff],
      'Latin-1': [0xe9],
    }).map(([what, bytes]): [string, Buffer] => [
      what,
      Buffer.concat([Buffer.from('{"prompt":"'), Buffer.from(bytes), Buffer.from('"}')]),
    ]),
  ];
}

/** What a case is called in a list of failures. */
export function shown(text: string): string {
  return text.length > 60 ? `${JSON.stringify(text.slice(0, 40))}… (${text.length})` : JSON.stringify(text);
}

function nested(open: string, depth: number, close: string, inside = ''): string {
  return open.repeat(depth) + inside + close.repeat(depth);
}
