/**
 * Draws a matrix of values, such as the attention weights of a head, as a static SVG picture: row i, column j, darker
 * for larger values (by the square root, so that small values are visible). Notebook 00-start shows attention before
 * and after training.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { escapeHtml } from "./html-page.js";

/** The content of a heat map. */
export interface Heatmap {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** Label of each row and column, such as the tokens; a space is shown as ␣. */
  readonly labels: readonly string[];
  /** [rows, columns] */
  readonly values: readonly (readonly number[])[];
}

/**
 * The matrix as an SVG document on white, with a legend.
 * @throws {RangeError} when the values are not a square matrix with as many rows as labels
 */
export function heatmapSvg({ title, xLabel, yLabel, labels, values }: Heatmap): string {
  if (values.length !== labels.length || values.some((row) => row.length !== labels.length)) {
    throw new RangeError(
      `Cannot draw ${title}: ${values.length} rows of ${values[0]?.length ?? 0} values for ${labels.length} labels; wanted as many rows and columns as labels.`,
    );
  }
  const { document } = parseHTML("<html><body></body></html>");
  const cells = values.flatMap((row, y) => row.map((value, x) => ({ x, y, value })));
  const highest = Math.max(...cells.map(({ value }) => value));
  const side = Math.max(9, Math.min(24, 460 / labels.length));
  const axis = (label: string) =>
    ({ label, labelArrow: "none", tickFormat: (i: number) => shown(labels[i]!), tickSize: 0 }) as const;
  const size = Math.round(side * labels.length);
  const plot = Plot.plot({
    document,
    width: size + 80,
    height: size + 110,
    marginTop: 78,
    marginLeft: 56,
    marginRight: 24,
    marginBottom: 32,
    padding: 0.06,
    style: { fontSize: "12px", background: "white", color: "#24292f", fontFamily: "system-ui, sans-serif" },
    x: { ...axis(xLabel), axis: "top", labelAnchor: "center", labelOffset: 32 },
    y: { ...axis(yLabel), labelAnchor: "center" },
    color: { type: "sqrt", scheme: "blues", domain: [0, highest] },
    marks: [Plot.cell(cells, { x: "x", y: "y", fill: "value" })],
  } as Plot.PlotOptions & { document: unknown }) as unknown as {
    outerHTML: string;

    setAttribute(name: string, value: string): void;
  };
  plot.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", escapeHtml(title));
  const text =
    `<text x="16" y="24" text-anchor="start" font-size="15" font-weight="600">${escapeHtml(title)}</text>` +
    `<text x="16" y="${size + 100}" text-anchor="start" fill="#5f6770">white 0, dark ${highest.toPrecision(2)}</text>`;
  const svg = plot.outerHTML;
  return `${svg.slice(0, svg.lastIndexOf("</svg>"))}${text}</svg>`;
}

const shown = (label: string) => (label === " " ? "␣" : label === "\n" ? "⏎" : label);
