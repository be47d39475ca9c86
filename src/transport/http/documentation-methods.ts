import type { OpenRpc, OpenRpcMethod } from '../../protocol/openrpc.ts';
import { nameIn } from '../../protocol/schema-words.ts';
import { code, defaultText, escaped, fieldTable, section, sentence, table, typeText } from './documentation-html.ts';

/** Every method of the WebSocket: what it takes, returns and refuses with. */
export function documentedMethods({ methods }: OpenRpc): string {
  return methods.map(documentedMethod).join('\n');
}

/** One line for each method, for the table of contents. */
export function listedMethods({ methods }: OpenRpc): string {
  const lines = methods.map(({ name }) => `<li><a href="#method-${escaped(name)}">${code(name)}</a></li>`);
  return `<ul>${lines.join('\n')}</ul>`;
}

export function documentedNotifications({ 'x-notifications': notifications }: OpenRpc): string {
  const rows = notifications.map(({ name, summary, params }) => [
    code(name),
    params.$ref === undefined ? fieldTable(params) : typeText(params),
    sentence(`${summary}.`),
  ]);
  return table(['notification', 'params', 'meaning'], rows);
}

export function documentedCloseCodes({ 'x-close-codes': closes }: OpenRpc): string {
  return table(
    ['code', 'meaning'],
    closes.map(({ code: number, text }) => [code(`${number}`), sentence(text)]),
  );
}

function documentedMethod({ name, summary, params, result, errors, 'x-scope': scope }: OpenRpcMethod): string {
  const rows = params.map(({ name: param, required, schema, description = '' }) => [
    code(param) + (required ? '' : ' <small>optional</small>'),
    typeText(schema) + defaultText(schema),
    sentence(description),
  ]);
  const body = [
    `<p>${sentence(`${summary}.`)}${scope === undefined ? '' : ` Needs the scope ${code(scope)}.`}</p>`,
    rows.length === 0 ? '<p>Takes no params.</p>' : table(['param', 'type', 'meaning'], rows),
    result.schema.$ref === undefined
      ? `<p>Result:</p>${fieldTable(result.schema)}`
      : `<p>Result: ${typeText(result.schema)}</p>`,
    `<p>Errors: ${errors.map(({ $ref }) => code(nameIn($ref))).join(', ')}</p>`,
  ];
  return section({ level: 3, id: `method-${name}`, title: code(name) }, body.join('\n'));
}
