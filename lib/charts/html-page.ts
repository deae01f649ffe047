/**
 * Self-contained HTML pages: text, static pictures and interactive figures in one file that needs no network, follows
 * the reader's colour scheme, and suits phones and printing. Callers give the body as HTML. Shown in
 * notebooks/01-train.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { escapeScript } from "./page-script.js";

/** A page around `body`, which is HTML and may contain interactiveFigure()s of line-chart.ts. */
export function htmlPage({
  title,
  body,
  css = "",
}: {
  readonly title: string;
  readonly body: string;
  readonly css?: string;
}): string {
  return `${pageHead({ title, css })}
<body>
${body}
<script>${escapeScript(readFileSync(plotlyPath(), "utf8"))}</script>
<script>${figureScript}</script>
</body>
</html>
`;
}

/** The beginning of a page, up to its body: nothing may be loaded, and the colours are the reader's. */
export const pageHead = ({
  title,
  css = "",
}: {
  readonly title: string;
  readonly css?: string;
}): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<title>${escapeHtml(title)}</title>
<style>${pageCss}${css}</style>
</head>`;

/** Text for an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => names[character]!);
}

export const plotlyPath = () =>
  createRequire(import.meta.url).resolve("plotly.js-cartesian-dist-min/plotly-cartesian.min.js");

const pageCss = `
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --rule: #d1d9e0; --card: #f6f8fa; --paper: #fff; --accent: #2b7bba; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --rule: #3d444d; --card: #161b22; --paper: #0d1117; --accent: #58a6e0; }
}
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1.25rem 3rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.figure { height: 26rem; margin: 0 -.5rem; }
noscript img { max-width: 100%; height: auto; }
@media print { :root { color-scheme: light; } .modebar { display: none; } }
`;

// Runs in the reader's browser: draws each figure, and redraws it when the colour scheme changes or the page is
// printed.
const figureScript = `
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw(light) {
  const ink = light ? "#1f2328" : "#e6edf3", rule = light ? "#e3e7eb" : "#2b323b";
  for (const element of document.querySelectorAll(".figure")) {
    element.figure ??= JSON.parse(element.querySelector("script").textContent);
    const { data, layout } = element.figure;
    const narrow = element.clientWidth < 560;
    const below = narrow || layout.hovermode === "closest"; // a legend inside the plot would hide points
    const names = data.flatMap((trace) => (trace.text ?? []).map((text) => 7 * text.length));
    const room = Math.max(16, Math.min(element.clientWidth / 6, ...[Math.max(0, ...names)]));
    const axis = (a) => ({ ...a, gridcolor: rule, linecolor: rule, automargin: true, title: { ...a.title, standoff: 12 } });
    Plotly.react(element, data, {
      ...layout,
      title: { ...layout.title, x: 0.01, xanchor: "left", font: { size: 16, weight: 600 } },
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis),
      shapes: layout.shapes.map((s) => ({ ...s, label: { ...s.label, font: { color: light ? "#59636e" : "#9198a1", size: 12 } } })),
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, sans-serif", size: 13, color: ink },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { t: 56, r: room, b: 48, l: 56 }, hovermode: layout.hovermode ?? "x unified",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: "#9198a1", activecolor: ink },
      hoverlabel: { bgcolor: light ? "#ffffff" : "#161b22", font: { color: ink } },
      legend: below ? { orientation: "h", y: -0.22 } : { x: 1, xanchor: "right", y: 1 },
    }, { responsive: true, displaylogo: false, displayModeBar: narrow ? false : "hover" });
  }
}
draw(!dark.matches);
dark.addEventListener("change", () => draw(!dark.matches));
addEventListener("beforeprint", () => draw(true));
addEventListener("afterprint", () => draw(!dark.matches));
`;

/** Style sheet of reports: headings, cards with the main figures, tables, print. */
export const reportCss = `
h1 { margin: 0; font-size: 2rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.2rem; }
.kicker { margin: 0; color: var(--accent); font-weight: 600; }
.soft { color: var(--soft); font-weight: 400; }
header .soft { margin: .25rem 0 1.25rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem; margin: 0 0 1rem; }
.cards div { padding: .75rem 1rem; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
.cards dt { font-size: .85rem; font-weight: 600; }
.cards dd { margin: 0; font-size: 1.4rem; white-space: nowrap; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards dd.soft { font-size: .8rem; white-space: normal; font-weight: 400; line-height: 1.35; }
pre { padding: .9rem 1rem; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  font: .82rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; font-variant-numeric: tabular-nums; }
th { font-weight: 500; } thead th { color: var(--soft); font-size: .85rem; }
tbody th { width: 40%; }
.settings th span { display: block; font-size: .8rem; }
.settings td { overflow-wrap: anywhere; }
.settings tbody th { width: 60%; }
.losses tbody th { width: auto; white-space: nowrap; } .losses .bar { width: 45%; vertical-align: middle; }
.bar i { display: block; height: .8rem; background: var(--soft); opacity: .55; border-radius: 2px; print-color-adjust: exact; }
.own { font-weight: 600; } .own th { font-weight: 600; } .own .bar i { background: var(--accent); opacity: 1; }
summary { margin: .75rem 0; cursor: pointer; color: var(--soft); }
code { font-size: .9em; }
@media print {
  :root { color-scheme: light; --ink: #000; --soft: #444; --rule: #bbb; --card: #fff; --paper: #fff; --accent: #2b7bba; }
  body { max-width: none; padding: 0; } pre, tr, .cards div, .figure { break-inside: avoid; } h2 { break-after: avoid; }
}
`;
