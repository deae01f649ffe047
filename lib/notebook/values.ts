/**
 * How a notebook shows one of Folio's values as the last expression of a cell: a run, a dataset, a figure, a table or a
 * tensor. The kernel shows other values as text. Values are recognized by their properties, so that no module is loaded
 * for it.
 */
import type { Figure } from "../charts/figure.js";
import { svgImage, toSvg } from "../charts/figure-svg.js";
import { escapeHtml } from "../charts/html-page.js";
import { lossCurve } from "../charts/loss-curve.js";
import type { Dataset, TokenMeta } from "../data/dataset.js";
import type { HostTensor } from "../engine/host-tensors.js";
import { type MimeBundle, notebookKernel } from "../host/notebook.js";
import type { View } from "../inspect/views/view.js";
import { countParameters } from "../model/sizing.js";
import type { StepRecord } from "../runs/records.js";
import { defaultSettings, type Settings } from "../settings/settings.js";
import type { Checkpoint } from "../weights/checkpoint.js";
import { figureHtml } from "./figure-output.js";
import type { TrainedRun } from "./progress.js";

/** Registers Folio's values with the notebook's kernel; does nothing elsewhere. */
export function offerToNotebook(): void {
  const kernel = notebookKernel();
  if (kernel) kernel.describe = describeValue;
}

/**
 * Shows values: in a notebook as if each were the last expression of a cell, elsewhere as text.
 * @example show(lossCurve(readRunLog("out")));
 */
export function show(...values: readonly unknown[]): void {
  const kernel = notebookKernel();
  for (const value of values) {
    const bundle = describeValue(value);
    if (kernel && bundle) kernel.display(bundle);
    else console.log(bundle?.["text/plain"] ?? value);
  }
}

/** The representations of one of Folio's values; undefined for any other value. */
export function describeValue(value: unknown): MimeBundle | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  if (isShown(value)) return value.bundle();
  if (isFigure(value)) return figureBundle(value);
  if (isTable(value))
    return { "text/html": value.toHTML({ limit: 20 }), "text/plain": value.toMarkdown({ limit: 20 }) };
  if (isRecords(value)) return figureBundle(lossCurve(value));
  if (isRun(value)) return runBundle(value);
  if (isCheckpoint(value)) return checkpointBundle(value);
  if (isDataset(value)) return datasetBundle(value);
  if (isMeta(value)) return tableBundle(`Dataset ${value.dataset}`, metaRows(value));
  if (isTensor(value)) return { "text/plain": `Tensor of ${value.dtype}, ${shapeText(value.shape)}` };
  if (isHostTensor(value)) return { "text/plain": hostTensorText(value) };
  if (isSettings(value)) return tableBundle("Settings that differ from the defaults", changedSettings(value));
  return undefined;
}

interface Table {
  toHTML(options: { limit: number }): string;
  toMarkdown(options: { limit: number }): string;
}

const has = <K extends string>(value: object, ...keys: K[]): value is Record<K, unknown> =>
  keys.every((key) => key in value);
const isShown = (value: object): value is Pick<View, "bundle"> =>
  has(value, "bundle") && typeof value.bundle === "function";
const isFigure = (value: object): value is Figure =>
  has(value, "data", "layout") && Array.isArray(value.data) && has(value.layout as object, "xaxis", "shapes");
const isTable = (value: object): value is Table =>
  has(value, "toHTML", "toMarkdown", "numRows") && typeof value.toHTML === "function";
const isRecords = (value: object): value is StepRecord[] =>
  Array.isArray(value) && value.some((record) => record?.kind === "iter" && "loss" in record);
const isRun = (value: object): value is TrainedRun => has(value, "settings", "records") && Array.isArray(value.records);
const isCheckpoint = (value: object): value is Checkpoint => has(value, "params", "settings", "runId", "step");
const isDataset = (value: object): value is Dataset => has(value, "meta", "train", "val", "tokenizer");
const isMeta = (value: object): value is TokenMeta => has(value, "format") && value.format === "folio-tokens";
const isTensor = (value: object): value is { dtype: string; shape: number[] } =>
  has(value, "dataId", "dtype", "shape") && Array.isArray(value.shape);
const isHostTensor = (value: object): value is HostTensor =>
  has(value, "shape", "values") && Array.isArray(value.shape) && ArrayBuffer.isView(value.values);
const isSettings = (value: object): value is Settings => has(value, "nLayer", "blockSize", "outDir", "maxIters");

const grouped = (value: number) => value.toLocaleString("en");

function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? "a single number" : `[${shape.join(", ")}]`;
}

function hostTensorText({ shape, values }: HostTensor): string {
  const first = Array.from(values.subarray(0, 6) as ArrayLike<number>, (x) => Number(x.toPrecision(4)));
  const rest = values.length > 6 ? ", …" : "";
  return `${values.constructor.name} of ${shapeText(shape)}: ${first.join(", ")}${rest}`;
}

function figureBundle(figure: Figure): MimeBundle {
  const svg = toSvg(figure);
  return { "text/html": figureHtml(figure, svgImage(svg)), "text/plain": `Figure: ${figure.layout.title.text}` };
}

type Rows = readonly (readonly [name: string, value: string])[];

function tableBundle(title: string, rows: Rows): MimeBundle {
  const cells = rows.map(([name, value]) => {
    return `<tr><th style="text-align:left">${escapeHtml(name)}</th><td style="text-align:left">${escapeHtml(value)}</td></tr>`;
  });
  const html = `<table><caption style="text-align:left">${escapeHtml(title)}</caption>${cells.join("")}</table>`;
  const width = Math.max(...rows.map(([name]) => name.length), 0);
  const plain = [title, ...rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)].join("\n");
  return { "text/html": html, "text/plain": plain };
}

function changedSettings(settings: Settings): Rows {
  const keys = Object.keys(defaultSettings) as (keyof Settings)[];
  return keys
    .filter((key) => settings[key] !== defaultSettings[key])
    .map((key) => [key, JSON.stringify(settings[key]) ?? ""]);
}

function runBundle({ settings, records }: TrainedRun): MimeBundle {
  const start = records.find((record) => record.kind === "start");
  const last = records.findLast((record) => record.kind === "eval");
  const end = records.findLast((record) => record.kind === "end");
  const rows: Rows = [
    ...(start ? [["parameters", grouped(start.parameters)] as const] : []),
    ...(end ? [["steps", `${grouped(end.step)}${end.reason === "aborted" ? ", stopped" : ""}`] as const] : []),
    ...(last
      ? [["validation loss", `${last.valLoss.toFixed(4)} (training ${last.trainLoss.toFixed(4)})`] as const]
      : []),
    ...(end ? [["time in steps", `${(end.trainedMs / 1000).toFixed(1)} s`] as const] : []),
  ];
  const table = tableBundle(`Run in ${settings.outDir}`, rows);
  const figure = figureBundle(lossCurve(records));
  return { ...table, "text/html": `${table["text/html"]}${figure["text/html"]}` };
}

function checkpointBundle({ settings, step, bestValLoss, path }: Checkpoint): MimeBundle {
  return tableBundle(`Checkpoint ${path}`, [
    ["step", grouped(step)],
    ["parameters", grouped(countParameters(settings))],
    ["best validation loss", bestValLoss === null ? "none yet" : bestValLoss.toFixed(4)],
    ...changedSettings(settings),
  ]);
}

function metaRows({ splits, vocabSize, source }: TokenMeta): Rows {
  return [
    ["ids to train on", grouped(splits.train.tokens)],
    ["ids to validate on", grouped(splits.val.tokens)],
    ["vocabulary", `${grouped(vocabSize)} ids`],
    ...(source ? [["source", source.name] as const] : []),
  ];
}

function datasetBundle({ meta, train, tokenizer }: Dataset): MimeBundle {
  return tableBundle(`Dataset ${meta.dataset}`, [
    ...metaRows(meta),
    ["begins", JSON.stringify(tokenizer.decode(train.read(0, Math.min(60, train.length))))],
  ]);
}
