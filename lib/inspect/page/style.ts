/**
 * Style sheets of the views. In a page they live in a shadow root and take the ink of the page around them, so that they
 * follow light and dark; a still picture has a ground of its own.
 */

const drawing = `
svg { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
text { fill: currentColor; }
.label, .word { font-size: 12px; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.title { font-size: 12px; fill-opacity: .8; }
.heading { font-size: 15px; font-weight: 600; }
.soft { fill-opacity: .75; }
.frame { fill: none; stroke: currentColor; stroke-opacity: .3; }
.chosen { fill-opacity: 1; stroke: currentColor; stroke-width: 2; }
image + rect.chosen { fill: none; }
.cursor { stroke: currentColor; }
.rule { stroke: currentColor; stroke-opacity: .5; }
`;

/** Of a still picture. */
export const stillCss = `
svg { background: #fff; color: #1f2328; border-radius: 6px; }
svg svg { background: none; }
@media screen and (prefers-color-scheme: dark) { svg { background: #0d1117; color: #e6edf3; } svg svg { background: none; } }
${drawing}`;

/** Of a view in a page. */
export const viewCss = `
:host { display: block; color: inherit; font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; margin: .5rem 0 1rem; }
:host([data-size="large"]) { font-size: 20px; }
section { overflow-x: auto; padding: 3px; } /* what overflows is cut, also the outline of what has the focus */
:host([data-size="large"]) svg[role="img"] { width: max(100%, calc(var(--w, 0) * 1.52px)); max-width: none; }
:host([data-size="large"]) svg.scale { width: 152px; height: auto; }
header { display: flex; align-items: baseline; gap: 1rem; }
h1, h2 { font-size: 1.1em; margin: 0 0 .4em; flex: 1; }
.name { font-weight: 600; margin: .6em 0 .2em; }
svg { max-width: 100%; height: auto; }
.controls { display: flex; flex-wrap: wrap; gap: .4em 1.2em; align-items: center; margin: .3em 0 .6em; }
label { display: inline-flex; align-items: center; gap: .45em; }
output { min-width: 3.2em; font-variant-numeric: tabular-nums; }
input[type="range"] { width: 9em; accent-color: #2b7bba; }
select, button { font: inherit; color: inherit; background: transparent; border: 1px solid color-mix(in srgb, currentColor 45%, transparent);
  border-radius: 5px; padding: .15em .5em; }
option { color: #1f2328; background: #fff; }
button:disabled { opacity: .5; }
button:focus-visible, select:focus-visible, input:focus-visible, svg:focus-visible, summary:focus-visible { outline: 2px solid #d9662c; outline-offset: 1px; }
.beside { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.heads { display: grid; gap: 3px; }
.heads button { padding: 0; line-height: 0; border-radius: 2px; }
.heads img { width: clamp(14px, 3.4vw, 44px); aspect-ratio: 1; image-rendering: pixelated; }
.heads button[aria-pressed="true"] { outline: 2px solid currentColor; }
.tokens { flex: 1 1 20rem; line-height: 1.9; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.tokens button { border: 0; border-radius: 2px; padding: .1em .1em; margin: 0 1px 0 0; font: inherit; cursor: default; }
.tokens button[aria-pressed="true"] { outline: 2px solid currentColor; }
.readout { min-height: 1.5em; margin: .4em 0; font-variant-numeric: tabular-nums; }
.tree { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.tree details, .tree .leaf { padding-left: 1.4em; } .tree > details { padding-left: 0; }
.tree .soft { opacity: .8; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1em 1em; margin: .4em 0; }
dt { opacity: .8; } dd { margin: 0; }
@media print { .controls button, input[type="range"] { display: none; } }
${drawing}`;
