/** The look of the page: light and dark, on screen and on paper. */
export const STYLE = `
:root { color-scheme: light dark; --line: #d0d7de; --soft: #f4f6f8; --link: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --line: #3b434b; --soft: #1c2127; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1.5rem; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 .5rem; }
h2 { border-bottom: 1px solid var(--line); padding-bottom: .3rem; margin-top: 3rem; }
a { color: var(--link); }
h2 a, h3 a { color: inherit; text-decoration: none; }
h2 a:hover, h3 a:hover { text-decoration: underline; }
code, pre { font-family: ui-monospace, monospace; font-size: .875em; }
code { background: var(--soft); border-radius: 3px; padding: .1em .3em; overflow-wrap: anywhere; }
pre { background: var(--soft); border-radius: 6px; padding: 1rem; overflow-x: auto; }
small { opacity: .75; font-weight: normal; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .75rem 0; font-size: .9375rem; }
th, td { border: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; }
th { background: var(--soft); }
nav ul { columns: 20rem; padding-left: 1.2rem; }
nav > p { margin-bottom: 0; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, .wide { overflow: visible; }
  tr, pre { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  a { color: inherit; text-decoration: none; }
}
`;
