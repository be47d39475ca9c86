import type { JsonSchema } from '../../protocol/component-schemas.ts';
import { fieldsOf, typeOf } from '../../protocol/schema-words.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text that stands in HTML, between tags or in quotes. */
export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

export function code(text: string): string {
  return `<code>${escaped(text)}</code>`;
}

/** A sentence in which backticks set code and double asterisks set weight. */
export function sentence(text: string): string {
  return escaped(text)
    .replace(/`([^`]+)`/g, '<code>$1</code>')
    .replace(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>');
}

/** Paragraphs, which an empty line parts. */
export function prose(text: string): string {
  return text
    .split('\n\n')
    .map((paragraph) => `<p>${sentence(paragraph)}</p>`)
    .join('\n');
}

/** @param rows cells that are HTML already */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const cells = (tag: 'th' | 'td', texts: readonly string[]): string =>
    `<tr>${texts.map((text) => `<${tag}>${text}</${tag}>`).join('')}</tr>`;
  const body = rows.map((row) => cells('td', row)).join('\n');
  return `<div class="wide"><table><thead>${cells('th', head)}</thead>\n<tbody>${body}</tbody></table></div>`;
}

/** A heading that can be linked to, and what stands below it. */
export function section({ level, id, title }: { level: 2 | 3; id: string; title: string }, body: string): string {
  const anchor = escaped(id);
  return `<section id="${anchor}">\n<h${level}><a href="#${anchor}">${title}</a></h${level}>\n${body}\n</section>`;
}

/** What a value is; the name of a schema leads to it. */
export function typeText(schema: JsonSchema): string {
  if (schema.$ref !== undefined) return linked(schema);
  if (schema.anyOf !== undefined) return schema.anyOf.map((one) => typeText(one)).join(' | ');
  const { items } = schema;
  if (typeof items === 'object' && !Array.isArray(items)) return `list of ${typeText(items)}`;
  return typeOf(schema, code);
}

function linked(schema: JsonSchema): string {
  return typeOf(schema, (name) => `<a href="#schema-${escaped(name)}">${code(name)}</a>`);
}

/** The fields of an object, each with what it is and what it means. */
export function fieldTable(schema: JsonSchema): string {
  const rows = fieldsOf(schema).map(({ name, required, schema: field }) => [
    code(name) + (required ? '' : ' <small>optional</small>'),
    typeText(field) + defaultText(field),
    sentence(field.description ?? ''),
  ]);
  return table(['field', 'type', 'meaning'], rows);
}

/** What is taken where nothing is given. */
export function defaultText(schema: JsonSchema): string {
  return schema.default === undefined ? '' : `, default ${code(JSON.stringify(schema.default))}`;
}
