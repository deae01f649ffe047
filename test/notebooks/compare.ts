/**
 * A notebook's stored outputs against fresh ones: words exactly, whole numbers exactly, other numbers within a tolerance, for
 * processors round differently; tables cell by cell, figures by their data. What varies from run to run is masked here, in one
 * place; a cell whose output varies more says so by a tag.
 */
import { parseHTML } from "linkedom";
import { open, type Packed, sizeOf } from "../../lib/inspect/page/parts/numbers.js";
import { codeCells, type Notebook, type Output, textOf } from "./notebook.js";

/** Tags of a code cell. Without one, its output is compared whole. */
export const tags = {
  /** Times, speeds and what is derived from them: every number may differ. */
  measured: "measured",
  /** Another text each time: what a model wrote, the operations of this machine. Only the kinds of outputs are compared. */
  varies: "varies",
} as const;
/**
 * `tolerance:0.02`: decimal numbers of this cell may differ by so much of themselves, as those of a training do, which ends a
 * little elsewhere in another number format, or on a processor whose vectors are wider.
 */
const TOLERANCE_TAG = /^tolerance:(0\.\d+)$/;
/** Of what is computed alike everywhere. */
const DEFAULT_TOLERANCE = 0.001;

interface Rule {
  readonly measured: boolean;
  readonly varies: boolean;
  readonly tolerance: number;
}

/** Of a cell without a tolerance, where the numbers were stored on a machine that computes otherwise. */
const ELSEWHERE_TOLERANCE = 0.1;

/**
 * Each place where the fresh outputs differ from those in the file: cell, what is stored, what came.
 * @param alike whether this machine computes as the one did that the outputs are from: the same instruction sets, operations and
 * number format. Elsewhere a training takes another path: a cell with a tolerance is not compared, and others less closely.
 */
export function differences(notebook: Notebook, fresh: readonly Output[][], { alike = true } = {}): string[] {
  return codeCells(notebook).flatMap((cell, index) => {
    const rule = ruleOf(cell.metadata.tags, alike);
    const [stored, came] = [joined(cell.outputs ?? []), joined(fresh[index] ?? [])];
    if (stored.length !== came.length)
      return [`cell ${index + 1} has ${count(stored)} stored, and made ${count(came)}`];
    return stored.flatMap((output, at) =>
      partDifferences(partsOf(output), partsOf(came[at]!), rule).map((text) => `cell ${index + 1}: ${text}`),
    );
  });
}

const count = ({ length }: readonly Output[]) => `${length} output${length === 1 ? "" : "s"}`;

function ruleOf(given: unknown, alike: boolean): Rule {
  const list = Array.isArray(given) ? given.map(String) : [];
  const tolerances = list.flatMap((tag) => TOLERANCE_TAG.exec(tag)?.[1] ?? []).map(Number);
  return {
    measured: list.includes(tags.measured),
    varies: list.includes(tags.varies) || (!alike && tolerances.length > 0),
    tolerance: Math.max(alike ? DEFAULT_TOLERANCE : ELSEWHERE_TOLERANCE, ...tolerances),
  };
}

/** Pieces of one stream together: how they were cut is chance. */
function joined(outputs: readonly Output[]): Output[] {
  const result: Output[] = [];
  for (const output of outputs) {
    const before = result.at(-1);
    if (output.output_type === "stream" && before?.output_type === "stream" && before.name === output.name)
      before.text = textOf(before.text) + textOf(output.text);
    else result.push({ ...output });
  }
  return result;
}

/** A piece of an output that a difference can name: a line, a table's cell, a value of a figure. */
interface Part {
  readonly where: string;
  readonly text: string;
  /** A value of a figure is near another by the extent of its axis, not by its own size. */
  readonly axis?: Axis;
}

/** The extent of an axis; of a logarithmic one, that of the logarithms. */
interface Axis {
  readonly extent: number;
  readonly log?: boolean;
}
/** Of a value without an axis: it is near another by its own size, and was not rounded to be read. */
const NO_AXIS: Axis = { extent: 0 };

function partsOf(output: Output): Part[] {
  if (output.output_type === "stream") return lineParts(textOf(output.text));
  const data = Object.entries(output.data ?? {}).filter(
    ([, value]) => typeof value === "string" || Array.isArray(value),
  );
  return data.flatMap(([mime, value]) => {
    const text = textOf(value as string | string[]);
    return mime === "text/html" ? htmlParts(text) : lineParts(text);
  });
}

const lineParts = (text: string): Part[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line, index) => ({ where: `line ${index + 1}`, text: line }));

function htmlParts(html: string): Part[] {
  const figure = /\)\("folio-[0-9a-f]+", (\{.*\})\)<\/script>/s.exec(html)?.[1];
  if (figure) return figureParts(JSON.parse(figure) as FigureData);
  const view = /FolioViews\?\.mount\("folio-[0-9a-f]+", "(\w+)", (\{.*\})\)<\/script>/s.exec(html);
  if (view) return viewParts(JSON.parse(view[2]!), `a view of ${view[1]}`);
  const { document } = parseHTML(`<html><body>${html}</body></html>`);
  const images = [...document.querySelectorAll("img")].flatMap((image) =>
    pictureParts(image.getAttribute("src") ?? ""),
  );
  const rows = [...document.querySelectorAll("tr")].flatMap((row, y) =>
    [...row.querySelectorAll("th, td")].map((cell, x) => ({
      where: `row ${y + 1}, column ${x + 1}`,
      text: cell.textContent ?? "",
    })),
  );
  const rest = document.querySelectorAll("tr").length === 0 ? lineParts(document.body.textContent ?? "") : [];
  return [...images, ...rows, ...rest];
}

/** The data of a view: its words, and its arrays number by number, near by the array's extent. */
function viewParts(value: unknown, where: string): Part[] {
  if (Array.isArray(value)) return value.flatMap((one, index) => viewParts(one, `${where}[${index}]`));
  if (typeof value !== "object" || value === null) return [{ where, text: String(value) }];
  if ("base64" in value) {
    const packed = value as Packed;
    const numbers = Array.from(open(packed).read(0, sizeOf(packed.shape)));
    const axis = { extent: numbers.reduce((most, x) => Math.max(most, Math.abs(x)), 0) };
    const shape = { where: `${where}'s shape`, text: packed.shape.join(" × ") };
    return [shape, ...numbers.map((x, index) => ({ where: `${where}[${index}]`, text: String(x), axis }))];
  }
  return Object.entries(value).flatMap(([key, one]) => viewParts(one, `${where}.${key}`));
}

/** What a static picture says: its words. */
function pictureParts(source: string): Part[] {
  const [, svg] = /^data:image\/svg\+xml;base64,(.*)$/.exec(source) ?? [];
  if (!svg) return [{ where: "a picture", text: source.slice(0, 40) }];
  const { document } = parseHTML(`<html><body>${Buffer.from(svg, "base64")}</body></html>`);
  return [...document.querySelectorAll("svg text")].map(({ textContent }) => ({
    where: "a picture's text",
    text: textContent ?? "",
  }));
}

interface FigureData {
  readonly data: readonly Record<string, unknown>[];
  readonly layout: Record<string, unknown>;
}

function figureParts({ data, layout }: FigureData): Part[] {
  const axes = Object.fromEntries(
    ["x", "y", "z"].map((name): [string, Axis] => {
      const log = (layout[`${name}axis`] as { type?: string } | undefined)?.type === "log";
      const values = data.flatMap((trace) => numbersIn(trace[name])).map((value) => (log ? Math.log(value) : value));
      const extent = Math.max(...values) - Math.min(...values);
      return [name, Number.isFinite(extent) ? { extent, log } : NO_AXIS];
    }),
  );
  const parts = (value: unknown, where: string, axis = NO_AXIS): Part[] => {
    if (Array.isArray(value)) return value.flatMap((one, index) => parts(one, `${where}[${index}]`, axis));
    if (typeof value === "object" && value !== null)
      return Object.entries(value).flatMap(([key, one]) => parts(one, `${where}.${key}`, axes[key] ?? axis));
    return [{ where, text: String(value), axis }];
  };
  return [...data.flatMap((trace) => parts(trace, `"${trace.name}"`)), ...parts(withoutTicks(layout), "the layout")];
}

/** Where an axis has its numbers follows from the values. */
function withoutTicks(layout: Record<string, unknown>): unknown {
  return JSON.parse(JSON.stringify(layout, (key, value) => (/^(tickvals|ticktext)$/.test(key) ? undefined : value)));
}

function numbersIn(value: unknown): number[] {
  if (Array.isArray(value)) return value.flatMap(numbersIn);
  return typeof value === "number" ? [value] : [];
}

function partDifferences(stored: readonly Part[], came: readonly Part[], rule: Rule): string[] {
  if (rule.varies) return [];
  if (stored.length !== came.length)
    return [`${stored.length} lines, cells or values are stored, and ${came.length} came`];
  const wrong = stored.flatMap((part, index) => {
    const fresh = came[index]!;
    return part.where === fresh.where && sameText(part, fresh, rule)
      ? []
      : [`${part.where}: stored ${quoted(part.text)}, fresh ${quoted(fresh.text)}`];
  });
  return wrong.length > 3 ? [...wrong.slice(0, 3), `and ${wrong.length - 3} more`] : wrong;
}

const quoted = (text: string) => JSON.stringify(text.length > 160 ? `${text.slice(0, 160)}…` : text);

/** What differs by the machine or the moment, wherever it stands. */
const MASKS: readonly [RegExp, string][] = [
  [/^.+(?=, \d+ cores?, TensorFlow )/gm, "PROCESSOR"],
  [/ without Folio's own operations$/gm, ""],
  [/\d[\d.,]*(?= ?(ms|s|min|h|GFLOP\/s|GB\/s|MB\/s|tokens\/s|tokens per second|MB of memory)\b)/g, "TIME"],
  [/folio-[\w-]+-[A-Za-z0-9]{6}\b/g, "TEMPORARY"],
  [/(?<=\blib\/[\w/-]+\.ts:)\d+/g, "LINE"], // moves with every edit above it
];
const NUMBER = /(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?/gi;

/** Whether the words are the same, and the numbers near enough. */
export function sameText(stored: Part, fresh: Part, { measured, tolerance }: Omit<Rule, "varies">): boolean {
  const [was, is] = [masked(stored.text), masked(fresh.text)];
  if (was === is) return true;
  if (spaced(was.replace(NUMBER, "#")) !== spaced(is.replace(NUMBER, "#"))) return false;
  if (measured) return true;
  const [before, after] = [was.match(NUMBER) ?? [], is.match(NUMBER) ?? []];
  return before.every((number, index) => nearNumber(number, after[index]!, { tolerance, axis: stored.axis }));
}

const masked = (text: string) => MASKS.reduce((all, [pattern, name]) => all.replace(pattern, name), text);
/** Columns are as wide as their widest number. */
const spaced = (text: string) => text.replace(/ +/g, " ").trim();

function nearNumber(
  stored: string,
  fresh: string,
  { tolerance, axis }: { tolerance: number; axis?: Axis | undefined },
) {
  if (stored === fresh) return true;
  const [was, is] = [numberOf(stored), numberOf(fresh)];
  if (axis) {
    const isCounted = Number.isInteger(was) && Number.isInteger(is); // steps and layers do not drift
    const share = isCounted ? DEFAULT_TOLERANCE : tolerance;
    if (axis.log && was > 0 && is > 0) return Math.abs(Math.log(was / is)) <= share * axis.extent;
    return Math.abs(was - is) <= share * Math.max(axis.extent, Math.abs(was));
  }
  if (!/[.e]/i.test(stored) && !/[.e]/i.test(fresh)) return false;
  // A unit of the last digit: rounding alone may turn it.
  return Math.abs(was - is) <= Math.max(tolerance * Math.abs(was), 1.001 * lastDigit(stored));
}

const numberOf = (number: string) => Number(number.replaceAll(",", "").replace("−", "-"));

function lastDigit(number: string): number {
  const [, digits = "", exponent = "0"] = /^[^.e]*(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(number) ?? [];
  return 10 ** (Number(exponent) - digits.length);
}
