/** The style sheet of a live page, besides that of its views. */
import { viewCss } from "../../page/style.js";

export const liveCss = `${viewCss}
:host { --ink: #1f2328; --soft: #59636e; --rule: #d1d9e0; --card: #f6f8fa; --paper: #fff; --accent: #1f6699;
  display: block; min-height: 100vh; margin: 0; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
@media screen and (prefers-color-scheme: dark) {
  :host { --ink: #e6edf3; --soft: #9fa8b2; --rule: #3d444d; --card: #161b22; --paper: #0d1117; --accent: #6cb4ea; }
}
:host([data-size="large"]) { font-size: 21px; }
main { max-width: 84rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; display: grid; gap: 1rem; grid-template-columns: repeat(12, minmax(0, 1fr)); }
main > * { grid-column: span 12; }
@media (min-width: 60rem) { :host(:not([data-size="large"])) main > .half { grid-column: span 6; } }
.top { display: flex; flex-wrap: wrap; align-items: baseline; gap: .3rem 1.2rem; margin: 0; }
.top h1 { font-size: 1.5em; margin: 0; flex: 1 1 14rem; line-height: 1.2; overflow-wrap: anywhere; }
.top p { margin: 0; color: var(--soft); font-size: .9em; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: .9rem 1rem 1rem; overflow-x: auto; scroll-margin-top: 1rem; }
main:has(.tour) .card { scroll-margin-top: 16.5em; }
.card.here { outline: 3px solid var(--accent); outline-offset: 1px; }
.card h2 { font-size: 1.1em; margin: 0 0 .3em; }
.card h3 { font-size: 1em; margin: 1em 0 .2em; }
.card p { margin: .3em 0; max-width: 46em; }
.hint { color: var(--soft); font-size: .92em; }
textarea { box-sizing: border-box; width: 100%; min-height: 4.2em; font: .95em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  color: inherit; background: var(--paper); border: 1px solid var(--rule); border-radius: 6px; padding: .5em .6em; resize: vertical; }
textarea:focus-visible, a:focus-visible { outline: 2px solid #d9662c; outline-offset: 1px; }
input[type="number"], input[type="text"] { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--rule); border-radius: 5px; padding: .15em .4em; width: 6.5em; }
button { cursor: pointer; padding: .25em .7em; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--paper); font-weight: 600; }
button[aria-pressed="false"].switch { opacity: .75; text-decoration: line-through; border-style: dashed; }
.error { color: #b3261e; } @media screen and (prefers-color-scheme: dark) { .error { color: #ff9d94; } }
.switches { display: grid; gap: .3rem; } .switches .row { display: flex; flex-wrap: wrap; gap: .3rem; align-items: center; }
.switches .row > span { min-width: 4.5em; }
ul.plain { list-style: none; margin: .4em 0; padding: 0; display: flex; flex-wrap: wrap; gap: .4em; }
.sampled { white-space: pre-wrap; overflow-wrap: anywhere; font: .95em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  background: var(--paper); border: 1px solid var(--rule); border-radius: 6px; padding: .5em .6em; min-height: 1.5em; }
.tour { border-left: 6px solid var(--accent); position: sticky; top: .4rem; z-index: 1; box-shadow: 0 2px 10px #0003; } .tour h2 { margin: 0; } .tour .controls { margin-bottom: 0; }
.tour .try { font-weight: 600; }
.station { display: grid; gap: .3rem 1.2rem; } @media (min-width: 60rem) { .station { grid-template-columns: 3fr 2fr; } }
.drop { border: 2px dashed var(--rule); border-radius: 8px; padding: .4em .6em; } .drop.over { border-color: var(--accent); }
.figures { display: flex; flex-wrap: wrap; gap: .2em 1.6em; font-variant-numeric: tabular-nums; }
.skip { position: absolute; left: -100vw; } .skip:focus { position: static; }
a { color: var(--accent); }
@media (max-height: 30rem), (max-width: 30rem) { .tour { position: static; } }
@media (max-width: 30rem) { main { padding: .7rem .6rem 3rem; gap: .7rem; } .card { padding: .7rem; } .controls { gap: .5em .8em; }
  .card svg[role="img"]:not(.scale) { min-width: 30rem; } }
`;
