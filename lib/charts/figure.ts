/**
 * The type of a figure, the part of a Plotly specification that Folio uses, and the colours that charts share.
 * line-chart.ts makes figures; figure-svg.ts and html-page.ts draw them. Shown in notebooks/01-train.
 */

export type Dash = "solid" | "dot" | "dash";
export type MarkerSymbol = "circle" | "circle-open" | "diamond" | "x";

/** Whiskers of a Plotly figure, as distances from the point. */
export interface ErrorBars {
  type: "data";
  symmetric: false;
  array: (number | null)[];
  arrayminus: (number | null)[];
  color: string;
  thickness: number;
  width: number;
}

/** A line of a Plotly figure. */
export interface Trace {
  type: "scatter";
  mode: "lines" | "lines+markers" | "markers" | "lines+text" | "lines+markers+text" | "markers+text";
  name: string;
  x: number[];
  y: (number | null)[];
  opacity: number;
  line: { color: string; width: number; dash: Dash };
  marker: { color: string; size: number; symbol?: MarkerSymbol };
  text?: string[];
  textposition?: "middle right" | "top right" | "bottom right";
  /** False: text may extend beyond the axes. */
  cliponaxis?: boolean;
  textfont?: { color: string; size: number };
  /** For a band: its outline is filled. */
  fill?: "toself";
  fillcolor?: string;
  error_x?: ErrorBars;
  error_y?: ErrorBars;
  showlegend?: boolean;
  hoverinfo?: "skip";
}

/** An axis of a Plotly figure; the range of a logarithmic axis is given in powers of ten. */
export interface Axis {
  title: { text: string };
  type: "linear" | "log";
  zeroline: false;
  range?: [low: number, high: number];
  /** Positions and texts of the ticks of a logarithmic axis. */
  tickvals?: number[];
  ticktext?: string[];
  showticklabels?: boolean;
}

/** A horizontal or vertical reference line of a Plotly figure. */
export interface Shape {
  type: "line";
  xref: "paper" | "x";
  yref: "paper" | "y";
  x0: number;
  x1: number;
  y0: number;
  y1: number;
  line: { color: string; width: number; dash: "dot" };
  label: { text: string; textposition: "start" | "middle" | "end"; yanchor: "bottom"; textangle?: 0 };
}

/** A Plotly figure: `Plotly.newPlot(element, figure.data, figure.layout)` draws it. */
export interface Figure {
  data: Trace[];
  layout: { title: { text: string }; xaxis: Axis; yaxis: Axis; shapes: Shape[]; hovermode?: "closest" };
}

/** Distinguishable with any colour vision, on white and on black: after Okabe and Ito 2008, with similar lightness. */
export const palette = ["#2b7bba", "#d9662c", "#1f9a76", "#b5628f", "#a88400", "#5c6bc0"] as const;
/** For references. */
export const grey = "#808890";

/** Colours for ordered values, small to large, that vary in lightness and hue; after viridis, without its ends. */
const ramp = ["#6a4fb0", "#4a72c4", "#2389a8", "#1f9a76", "#6aa83a", "#b59a10"] as const;

/** The colour at `share`, from 0 to 1, of the range of an ordered quantity. */
export function rampColor(share: number): string {
  const at = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0)) * (ramp.length - 1);
  const [from, to] = [ramp[Math.floor(at)]!, ramp[Math.ceil(at)]!];
  const mixed = [1, 3, 5].map((i) => {
    const [low, high] = [from, to].map((color) => Number.parseInt(color.slice(i, i + 2), 16)) as [number, number];
    return Math.round(low + (high - low) * (at % 1))
      .toString(16)
      .padStart(2, "0");
  });
  return `#${mixed.join("")}`;
}
