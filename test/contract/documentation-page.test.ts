import { expect, test } from 'vitest';
import { ERRORS } from '../../src/protocol/errors.ts';
import { EVENT_TYPES } from '../../src/protocol/events.ts';
import { HTTP_ROUTES } from '../../src/protocol/http-routes.ts';
import { CLOSE_CODES, RPC_METHODS, RPC_NOTIFICATIONS } from '../../src/protocol/rpc-methods.ts';
import { documentationPage } from '../../src/transport/http/documentation-page.ts';

const page = documentationPage('1.2.3');

test('the page documents every route, method, notification, event type, error and close code', () => {
  const wanted = [
    ...Object.entries(HTTP_ROUTES).map(
      ([name, { method, path }]) =>
        `<section id="route-${name}">\n<h3><a href="#route-${name}"><code>${method} ${path}</code>`,
    ),
    ...Object.keys(RPC_METHODS).map((name) => `<section id="method-${name}">`),
    ...[...Object.keys(RPC_NOTIFICATIONS), ...EVENT_TYPES, ...Object.keys(ERRORS)].map(
      (name) => `<tr><td><code>${name}</code></td>`,
    ),
    ...Object.values(CLOSE_CODES).map(({ code }) => `<tr><td><code>${code}</code></td>`),
  ];
  expect(wanted.filter((text) => !page.includes(text))).toEqual([]);
});

test('every link on the page leads to a place on it, once, or to one of the two documents', () => {
  const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const links = [...page.matchAll(/ href="([^"]*)"/g)].map(([, to = '']) => to);
  const outside = links.filter((to) => !to.startsWith('#') || !ids.includes(to.slice(1)));
  expect(outside).toEqual(['/v1/openapi.json', '/v1/openrpc.json']);
});

test('a browser loads nothing for the page and runs nothing on it', () => {
  expect(page).not.toMatch(/<(script|link|img|iframe|object|embed|base|form)\b/i);
  expect(page).not.toMatch(/\s(src|srcset|style|on\w+)\s*=\s*["']/i);
  expect(page).not.toMatch(/url\(|@import/i);
});

test('text that holds markup is shown as text', () => {
  const hostile = documentationPage(`<script>alert("1")</script>&'`);
  expect(hostile).not.toContain('<script');
  expect(hostile).toContain('<title>CC Executor &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;</title>');
});

test('the page is whole: every element that is opened is closed', () => {
  for (const tag of ['html', 'section', 'table', 'tr', 'td', 'ul', 'li', 'p', 'pre', 'code', 'a', 'strong', 'small']) {
    const opened = page.match(new RegExp(`<${tag}[ >]`, 'g'))?.length ?? 0;
    expect([tag, page.match(new RegExp(`</${tag}>`, 'g'))?.length ?? 0]).toEqual([tag, opened]);
  }
});
