/**
 * A figure in a notebook: a static picture, which is shown in an untrusted notebook, and a script that replaces it with
 * an interactive Plotly chart if scripts run. Plotly itself (1.5 MB) is output once per kernel, and again where its cell
 * is run again. lib/charts/html-page.ts makes separate pages.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Figure } from "../charts/figure.js";
import { plotlyPath } from "../charts/html-page.js";
import { offerScript, scriptJson } from "../charts/page-script.js";

/** HTML of a figure; `picture` is an element that shows it without a script. */
export function figureHtml(figure: Figure, picture: string): string {
  offerScript("Plotly", () => readFileSync(plotlyPath(), "utf8"));
  // Six digits are more than a screen can show.
  const short = (_: string, value: unknown) => (typeof value === "number" ? Number(value.toPrecision(6)) : value);
  const json = scriptJson(figure, short);
  const id = `folio-${createHash("sha256").update(json).digest("hex").slice(0, 12)}`;
  return `<div class="${id}" style="min-height:25rem">${picture}</div>\n<script>(${draw.toString()})("${id}", ${json})</script>`;
}

/** The browser interface that the script uses. */
declare const document: { querySelectorAll(selector: string): Iterable<Place>; body: object };
declare const window: { Plotly?: { newPlot(...args: unknown[]): void } };
declare function getComputedStyle(element: object): { color: string };
interface Place {
  textContent: string;
  drawn?: boolean;
}

/** Runs in the reader's browser, so it may not use anything else from this file. */
function draw(id: string, { data, layout }: Figure): void {
  if (!window.Plotly) return;
  const ink = getComputedStyle(document.body).color;
  const rule = "rgba(128, 136, 144, 0.25)";
  const axis = (given: object) => Object.assign({ gridcolor: rule, linecolor: rule, automargin: true }, given);
  const shapes = layout.shapes.map((shape) =>
    Object.assign({}, shape, { label: Object.assign({}, shape.label, { font: { color: ink, size: 12 } }) }),
  );
  const shown = Object.assign({ hovermode: "x unified" }, layout, {
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
    shapes: shapes,
    font: { color: ink, size: 13 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: "#fff", font: { color: "#1f2328" } },
    margin: { t: 56, r: 16, b: 48, l: 56 },
  });
  for (const place of document.querySelectorAll(`.${id}`)) {
    if (place.drawn) continue;
    place.drawn = true;
    place.textContent = "";
    window.Plotly.newPlot(place, data, shown, { responsive: true, displaylogo: false });
  }
}
