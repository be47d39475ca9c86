import type { OpenApi } from '../../protocol/openapi.ts';
import type { Answer, Content, Operation } from '../../protocol/openapi-operation.ts';
import { code, defaultText, escaped, fieldTable, section, sentence, table, typeText } from './documentation-html.ts';

/** Every route: what it takes and what it answers. */
export function documentedRoutes({ paths }: OpenApi): string {
  return operations(paths)
    .map(([method, path, operation]) => documentedRoute(method, path, operation))
    .join('\n');
}

/** One line for each route, for the table of contents. */
export function listedRoutes({ paths }: OpenApi): string {
  const lines = operations(paths).map(
    ([method, path, { operationId }]) => `<li><a href="#route-${operationId}">${code(`${method} ${path}`)}</a></li>`,
  );
  return `<ul>${lines.join('\n')}</ul>`;
}

/** The named schemas of bodies and answers. */
export function documentedSchemas({ components }: Pick<OpenApi, 'components'>): string {
  return Object.entries(components.schemas)
    .map(([name, schema]) => {
      const { description = '', properties, examples = [] } = schema;
      const about = properties === undefined ? `<p>${typeText(schema)}</p>` : fieldTable(schema);
      const shown = Array.isArray(examples) ? examples : [];
      const example = shown.map((value) => `<pre>${escaped(JSON.stringify(value, null, 2))}</pre>`).join('\n');
      const body = `<p>${sentence(description)}</p>\n${about}\n${example}`;
      return section({ level: 3, id: `schema-${name}`, title: escaped(name) }, body);
    })
    .join('\n');
}

function operations(paths: OpenApi['paths']): [method: string, path: string, operation: Operation][] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, string, Operation] => [
      method.toUpperCase(),
      path,
      operation,
    ]),
  );
}

function documentedRoute(method: string, path: string, operation: Operation): string {
  const { operationId, summary, description, requestBody, responses } = operation;
  const parts = [
    `<p>${sentence(`${summary}.`)}${neededText(operation)}</p>`,
    description === undefined ? '' : `<p>${sentence(description)}</p>`,
    parameters(operation),
    requestBody === undefined
      ? ''
      : `<p>Body: ${bodies(requestBody.content)}. ${sentence(requestBody.description)}</p>`,
    table(
      ['status', 'answer', 'meaning'],
      Object.entries(responses).map(([status, answer]) => [code(status), answered(answer), meaning(answer)]),
    ),
  ];
  const title = `${code(`${method} ${path}`)} <small>${escaped(operationId)}</small>`;
  return section({ level: 3, id: `route-${operationId}`, title }, parts.filter((part) => part !== '').join('\n'));
}

function neededText({ security }: Operation): string {
  if (security === undefined) return '';
  const scope = security[0]?.bearerAuth?.[0];
  return scope === undefined ? ' Needs no key.' : ` Needs the scope ${code(scope)}.`;
}

function parameters({ parameters: given = [] }: Operation): string {
  const rows = given.map(({ name, in: place, required, schema, description }) => [
    code(name) + (required ? '' : ' <small>optional</small>'),
    place,
    typeText(schema) + defaultText(schema),
    sentence(description),
  ]);
  return table(['parameter', 'in', 'type', 'meaning'], rows);
}

function answered({ content }: Answer): string {
  return content === undefined ? 'no body' : bodies(content);
}

function bodies(content: Content): string {
  return Object.entries(content)
    .map(([media, { schema }]) => `${typeText(schema)} <small>${escaped(media)}</small>`)
    .join('<br>');
}

function meaning({ description }: Answer): string {
  return description.split('\n\n').map(sentence).join('<br>');
}
