/** A matrix as a picture: one pixel per value, labels that leave each other room, a cursor, a colour bar with numbers. */
import { type Element, h } from "./element.js";
import { percent, shortNumber } from "./numbers.js";
import { cssColor, picture, type Scale } from "./scale.js";

export interface Cell {
  readonly row: number;
  readonly column: number;
}

export interface MatrixProps {
  /** Names the picture for people who do not see it. */
  readonly label: string;
  /** Row by row. */
  readonly values: ArrayLike<number>;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly rowTitle: string;
  readonly columnTitle: string;
  readonly scale: Scale;
  /** Words in the cells, where they are wide enough. */
  readonly words?: (cell: Cell) => string;
  readonly cellWidth?: number;
  readonly cellHeight?: number;
  /** Numbers of the colour bar as shares of 1. */
  readonly shares?: boolean;
  readonly cursor?: Cell | undefined;
  readonly onCursor?: (cell: Cell) => void;
}

const font = 12;
/** Average width of a character of the monospaced labels. */
const character = 0.602 * font;
/** Labels are cut where they would take more than this, and more than the cells leave of a picture of a usual size. */
const room = { left: 160, top: 110 };
const usual = { width: 600, height: 400 };

/** Space for labels, and the size of cells. */
function layoutOf({ rows, columns, cellWidth, cellHeight }: MatrixProps) {
  const longest = (labels: readonly string[]) => Math.max(...labels.map((label) => [...label].length), 1);
  // Square cells, but rows of a very wide or high matrix stay readable.
  const side = Math.min(26, Math.max(1, 460 / Math.max(columns.length, rows.length)));
  const wide = cellWidth ?? Math.max(side, Math.min(10, 460 / columns.length));
  const high = cellHeight ?? Math.max(side, Math.min(14, 460 / rows.length));
  const flat = longest(columns) * character <= wide - 2;
  const [width, height] = [wide * columns.length, high * rows.length];
  const left = 26 + Math.min(Math.max(room.left, usual.width - width), longest(rows) * character);
  const most = Math.max(room.top, usual.height - height);
  const top = 26 + (flat ? font + 6 : Math.min(most, longest(columns) * character + 8));
  return { wide, high, flat, left, top, width, height };
}

/** The matrix and its colour bar as an SVG element. */
export function Matrix(props: MatrixProps): Element {
  const { label, values, rows, columns, scale, words, cursor, onCursor } = props;
  const at = layoutOf(props);
  const total = { width: at.left + at.width + 106, height: at.top + Math.max(at.height, barHeight(scale)) + 14 };
  const cells = words && at.wide > 20 ? cellWords(props, at) : [];
  const interactive = onCursor && {
    tabindex: 0,
    onMouseMove: (event: MouseEvent) => {
      const found = cellAt(event, at, total);
      if (found && found.row < rows.length && found.column < columns.length) onCursor(found);
    },
    onKeyDown: (event: KeyboardEvent) => moveCursor(event, props),
  };
  return h(
    "svg",
    {
      ...{ viewBox: `0 0 ${total.width} ${total.height}`, width: total.width, role: "img", "aria-label": label },
      ...{ class: "matrix", xmlns: "http://www.w3.org/2000/svg", style: `--w: ${total.width}`, ...interactive },
    },
    h("rect", { x: at.left, y: at.top, width: at.width, height: at.height, class: "frame" }),
    h("image", {
      ...{ x: at.left, y: at.top, width: at.width, height: at.height, preserveAspectRatio: "none" },
      ...{ href: picture(values, columns.length, scale), style: "image-rendering: pixelated" },
    }),
    cells,
    axisLabels(props, at),
    cursor && cursorMarks(cursor, at),
    h(ColorBar, { scale, shares: props.shares, x: at.left + at.width + 22, y: at.top }),
  );
}

type Layout = ReturnType<typeof layoutOf>;

const barHeight = ({ root }: Scale) => 120 + (root ? (rootWords.length - 1) * lineHeight : 0);

/** The cell under the mouse; the picture may be shown larger or smaller than it is. */
function cellAt(event: MouseEvent, at: Layout, total: { width: number }): Cell | undefined {
  const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
  const factor = total.width / box.width;
  const column = Math.floor(((event.clientX - box.left) * factor - at.left) / at.wide);
  const row = Math.floor(((event.clientY - box.top) * factor - at.top) / at.high);
  return row >= 0 && column >= 0 ? { row, column } : undefined;
}

function moveCursor(event: KeyboardEvent, { rows, columns, cursor, onCursor }: MatrixProps): void {
  const steps: Record<string, readonly [number, number]> = {
    ...{ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] },
  };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  const { row, column } = cursor ?? { row: 0, column: 0 };
  const within = (value: number, size: number) => Math.min(size - 1, Math.max(0, value));
  onCursor?.({ row: within(row + step[0], rows.length), column: within(column + step[1], columns.length) });
}

function cursorMarks({ row, column }: Cell, at: Layout): Element[] {
  const [x, y] = [at.left + column * at.wide, at.top + row * at.high];
  const mark = { class: "cursor", fill: "none" };
  return [
    h("rect", { ...mark, x: at.left, y, width: at.width, height: at.high, opacity: 0.5 }),
    h("rect", { ...mark, x, y: at.top, width: at.wide, height: at.height, opacity: 0.5 }),
    h("rect", { ...mark, x, y, width: at.wide, height: at.high, "stroke-width": 2 }),
  ];
}

/**
 * Which of some labels are drawn: all, or every second, third … where they would touch. The chosen one always is, and the
 * last one unless the chosen one is too near.
 */
function labelled(count: number, step: number, chosen?: number): Set<number> {
  const drawn = new Set<number>();
  const isFree = (index: number) => [...drawn].every((other) => Math.abs(other - index) >= step);
  if (chosen !== undefined) drawn.add(chosen);
  if (isFree(count - 1)) drawn.add(count - 1);
  for (let index = 0; index < count; index += step) if (isFree(index)) drawn.add(index);
  return drawn;
}

function axisLabels({ rows, columns, rowTitle, columnTitle, cursor }: MatrixProps, at: Layout): Element[] {
  const every = (cell: number) => Math.max(1, Math.ceil((font + 2) / cell));
  const shownRows = labelled(rows.length, every(at.high), cursor?.row);
  const shownColumns = labelled(columns.length, at.flat ? 1 : every(at.wide), cursor?.column);
  const cut = (label: string, room: number) => {
    const short = shorten(label, Math.floor(room / character + 0.01));
    return short === label ? label : [h("title", {}, label), short];
  };
  return [
    ...rows.flatMap((label, row) => {
      if (!shownRows.has(row)) return [];
      const y = at.top + (row + 0.5) * at.high + font * 0.36;
      return h("text", { x: at.left - 6, y, class: "label", "text-anchor": "end" }, cut(label, at.left - 26));
    }),
    ...columns.flatMap((label, column) => {
      if (!shownColumns.has(column)) return [];
      const x = at.left + (column + 0.5) * at.wide;
      const place = at.flat
        ? { x, y: at.top - 6, "text-anchor": "middle" }
        : { transform: `translate(${x + font * 0.36} ${at.top - 6}) rotate(-90)` };
      return h("text", { ...place, class: "label" }, cut(label, at.flat ? at.wide : at.top - 32));
    }),
    h("text", { x: at.left + at.width / 2, y: 14, class: "title", "text-anchor": "middle" }, columnTitle),
    h(
      "text",
      { class: "title", "text-anchor": "middle", transform: `translate(13 ${at.top + at.height / 2}) rotate(-90)` },
      rowTitle,
    ),
  ];
}

const shorten = (text: string, length: number) => {
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, Math.max(1, length - 1)).join("")}…` : text;
};

function cellWords({ words, rows, columns }: MatrixProps, at: Layout): Element[] {
  return rows.flatMap((_, row) =>
    columns.map((_, column) => {
      const place = { x: at.left + (column + 0.5) * at.wide, y: at.top + (row + 0.5) * at.high + font * 0.36 };
      const text = shorten(words!({ row, column }), Math.floor(at.wide / character));
      return h("text", { ...place, class: "word", "text-anchor": "middle" }, text);
    }),
  );
}

const rootWords = ["opacity is", "the square", "root of the", "value"];
const lineHeight = 14;

/** The colours from 0, or from the negative end, to the highest value, with numbers. */
export function ColorBar(props: { scale: Scale; shares?: boolean | undefined; x: number; y: number }): Element {
  const { scale, shares, x, y } = props;
  const steps = 24;
  const height = 4 * steps;
  const low = scale.signed ? -scale.high : 0;
  const value = (share: number) => scale.high - share * (scale.high - low);
  const write = shares ? percent : shortNumber;
  return h(
    "g",
    { transform: `translate(${x} ${y})` },
    h("title", {}, scale.label),
    Array.from({ length: steps }, (_, i) =>
      h("rect", { x: 0, y: 4 * i, width: 12, height: 4, fill: cssColor(value((i + 0.5) / steps), scale) }),
    ),
    h("rect", { x: 0, y: 0, width: 12, height, class: "frame" }),
    [0, 0.5, 1].map((share) =>
      h("text", { x: 16, y: share * height + font * 0.36, class: "label" }, write(value(share))),
    ),
    scale.root &&
      rootWords.map((line, i) => h("text", { x: 0, y: height + 20 + i * lineHeight, class: "label" }, line)),
  );
}
