/**
 * The report of a run: one HTML page that works offline, with headline numbers, the loss curve, samples, what counting
 * reaches on the same text, speed, settings and environment. It computes nothing of the model: callers bring the
 * numbers. `npm start` ends with one; notebook 01-train shows the same curve.
 */
import os from "node:os";
import path from "node:path";
import { escapeHtml, htmlPage, reportCss } from "../charts/html-page.js";
import { interactiveFigure } from "../charts/line-chart.js";
import { lossCurve } from "../charts/loss-curve.js";
import { loadTensorFlow, tensorflowLoaded } from "../engine/tensorflow/load.js";
import { webGpuStarted, webGpuVersion } from "../engine/webgpu.js";
import { folioVersion } from "../host/package.js";
import { replaceFile } from "../host/replace-file.js";
import { quantile } from "../host/statistics.js";
import { defaultSettings, type Settings, settingRows } from "../settings/settings.js";
import type { EvalRecord, IterRecord, StartRecord, StepRecord } from "./records.js";

/** What a report tells of. */
export interface ReportContent {
  readonly settings: Settings;
  /** The run's log. */
  readonly records: readonly StepRecord[];
  /** Texts that the model wrote, prompts included. */
  readonly samples?: readonly string[];
  readonly validation?: ValidationResult;
  /** Name → value: versions, processor. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Losses on the whole validation split, in nats a token. */
export interface ValidationResult {
  readonly loss: number;
  /** Tokens that were predicted. */
  readonly targets: number;
  /** What counting single tokens, pairs, triples … reaches; as ngramLosses() returns it. */
  readonly counted: readonly number[];
}

/**
 * Writes trainingReport() to `report.html` in the run's folder, with this machine's environment unless told otherwise.
 * @returns the file's path
 * @throws {Error} when the file cannot be written; an earlier report then stays as it was
 */
export async function writeReport(outDir: string, content: ReportContent): Promise<string> {
  const file = path.join(outDir, "report.html");
  const html = trainingReport({ ...content, environment: content.environment ?? describeEnvironment() });
  try {
    replaceFile(file, html);
  } catch (error) {
    throw new Error(`Cannot write the report ${file}: ${(error as Error).message}.`, { cause: error });
  }
  return file;
}

/** The report as one self-contained page of about 1.5 MB, nearly all of it Plotly. Every text in it is escaped. */
export function trainingReport({
  settings,
  records,
  samples = [],
  validation,
  environment = {},
}: ReportContent): string {
  const start = records.findLast((record) => record.kind === "start");
  const lines = (validation?.counted ?? []).map((y, n) => ({ y, label: `${gramName(n)} ${y.toFixed(2)}` }));
  const speed = measureSpeed(records, start);
  const sections = [
    header(settings, start),
    headlines({ records, validation, start, speed }),
    interactiveFigure(lossCurve(records, { lines })),
    section("Samples", samples.map((text) => `<pre>${escapeHtml(text)}</pre>`).join("")),
    section("Against counting", validation ? comparison(validation) : ""),
    section("Speed", speed ? table(speedRows(speed)) : ""),
    section("Settings", settingsTables(settings)),
    section("Environment", table(Object.entries(environment))),
  ];
  const body = `<main>${sections.join("\n")}</main>`;
  return htmlPage({ title: `Training report: ${settings.dataset}`, body, css: reportCss });
}

/** Versions and processor of this machine, without names or paths. */
export function describeEnvironment(): Record<string, string> {
  const [cpu] = os.cpus();
  return {
    Folio: folioVersion(),
    ...(webGpuStarted() && !tensorflowLoaded()
      ? { "TensorFlow.js on WebGPU": webGpuVersion() }
      : { TensorFlow: loadTensorFlow().tensorflowVersion }),
    "Node.js": process.version,
    System: `${os.type()} ${os.release()}, ${os.arch()}`,
    Processor: `${cpu?.model.trim() ?? "unknown"}, ${os.availableParallelism()} logical cores`,
    Memory: `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`,
    Date: new Date().toISOString().slice(0, 10),
  };
}

function header({ dataset, nLayer, nHead, nEmbd, blockSize }: Settings, start: StartRecord | undefined): string {
  const size = start ? `, ${millions(start.parameters)} parameters` : "";
  const shape = `${nLayer} layers, ${nHead} heads, ${nEmbd} wide, context ${blockSize}${size}`;
  return `<header><p class="kicker">Folio training report</p><h1>${escapeHtml(dataset)}</h1><p class="soft">GPT: ${shape}</p></header>`;
}

interface Summary {
  readonly records: readonly StepRecord[];
  readonly validation: ValidationResult | undefined;
  readonly start: StartRecord | undefined;
  readonly speed: Speed | undefined;
}

function headlines({ records, validation, start, speed }: Summary): string {
  const cards: [value: string, name: string, note: string][] = [];
  const best = records
    .filter((record): record is EvalRecord => record.kind === "eval")
    .reduce<EvalRecord | undefined>((low, record) => (low && low.valLoss <= record.valLoss ? low : record), undefined);
  if (validation) {
    const note = `nats a token, whole split of ${grouped(validation.targets)}`;
    cards.push([validation.loss.toFixed(3), "validation loss", note]);
    const trigram = validation.counted[2];
    if (trigram !== undefined) {
      const gap = validation.loss - trigram;
      cards.push([
        `${gap < 0 ? "−" : "+"}${Math.abs(gap).toFixed(3)}`,
        "against trigram",
        gap < 0 ? "nats: better than counting" : "nats: counting is better still",
      ]);
    }
  } else if (best) {
    cards.push([
      best.valLoss.toFixed(3),
      "best validation loss",
      `nats a token, estimated at step ${grouped(best.step)}`,
    ]);
  }
  const end = records.findLast((record) => record.kind === "end");
  const last = records.findLast((record) => record.kind === "iter");
  if (end) cards.push([duration(end.trainedMs), "training time", `${grouped(end.step)} steps, ${end.reason}`]);
  if (speed)
    cards.push([
      grouped(Math.round(speed.tokensPerSecond)),
      "tokens a second",
      `median, on ${start?.device ?? "the processor"}`,
    ]);
  if (last)
    cards.push([millions(last.tokens), "tokens trained on", start ? `${grouped(start.tokensPerStep)} a step` : ""]);
  return `<dl class="cards">${cards
    .map(
      ([value, name, note]) =>
        `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd><dd class="soft">${escapeHtml(note)}</dd></div>`,
    )
    .join("")}</dl>`;
}

interface Speed {
  /** Medians over the logged steps. */
  readonly tokensPerSecond: number;
  readonly stepMs: number;
  /** The slowest twentieth of the steps took longer than this. */
  readonly slowStepMs: number;
  readonly firstStepMs: number;
  readonly start: StartRecord | undefined;
}

function measureSpeed(records: readonly StepRecord[], start: StartRecord | undefined): Speed | undefined {
  const iters = records.filter((record): record is IterRecord => record.kind === "iter");
  if (iters.length === 0) return undefined;
  const steady = iters.slice(iters.length > 1 ? 1 : 0); // the first step includes tracing
  const ms = steady.map(({ elapsedMs }) => elapsedMs);
  return {
    tokensPerSecond: quantile(
      steady.map(({ tokensPerSecond }) => tokensPerSecond),
      0.5,
    ),
    stepMs: quantile(ms, 0.5),
    slowStepMs: quantile(ms, 0.95),
    firstStepMs: iters[0]!.elapsedMs,
    start,
  };
}

function speedRows({ tokensPerSecond, stepMs, slowStepMs, firstStepMs, start }: Speed): [string, string][] {
  const rows: [string, string][] = [
    ["Tokens a second, median", grouped(Math.round(tokensPerSecond))],
    ["A step, median", `${stepMs.toFixed(1)} ms`],
    ["A step, 95th percentile", `${slowStepMs.toFixed(1)} ms`],
    ["First logged step, tracing included", `${firstStepMs.toFixed(0)} ms`],
  ];
  if (!start) return rows;
  return [
    ...rows,
    ["Run as", `${start.compiled ? "compiled" : "eager"}, ${start.dtype}, ${start.deviceName ?? start.device}`],
  ];
}

/** Losses as a table whose bars start at 0 nats. */
function comparison({ loss, counted }: ValidationResult): string {
  const rows = [
    ...counted.map((value, n) => [`counting: ${gramName(n)}`, value, ""] as const),
    ["this GPT", loss, ' class="own"'] as const,
  ];
  const most = Math.max(...rows.map(([, value]) => value));
  const cells = rows.map(([name, value, mark]) => {
    const width = ((100 * value) / most).toFixed(1);
    return `<tr${mark}><th scope="row">${name}</th><td class="bar"><i style="width:${width}%"></i></td><td>${value.toFixed(3)}</td><td>${(value / Math.LN2).toFixed(3)}</td></tr>`;
  });
  return `<p class="soft">Loss on the whole validation split; lower is better. Counting is interpolated Kneser-Ney over the training split.</p>
<table class="losses"><thead><tr><th scope="col">predicts by</th><td></td><th scope="col">nats a token</th><th scope="col">bits a token</th></tr></thead><tbody>${cells.join("")}</tbody></table>`;
}

/** Settings that differ from nanoGPT's defaults first; the others folded away. */
function settingsTables(settings: Settings): string {
  const rows = Object.entries(settingRows("train")).map(([key, { unit, doc }]) => ({
    key,
    doc,
    value: [show(settings[key as keyof Settings]), unit].filter(Boolean).join(" "),
    standard: show(defaultSettings[key as keyof Settings]),
    changed: settings[key as keyof Settings] !== defaultSettings[key as keyof Settings],
  }));
  const one = ({ key, doc, value, standard, changed }: (typeof rows)[number]) =>
    `<tr><th scope="row"><code>${key}</code><span class="soft">${escapeHtml(doc)}</span></th><td>${escapeHtml(value)}</td>${
      changed ? `<td class="soft">${escapeHtml(standard)}</td>` : ""
    }</tr>`;
  const changed = rows.filter((row) => row.changed).map(one);
  const rest = rows.filter((row) => !row.changed).map(one);
  return `<table class="settings"><thead><tr><th scope="col">changed</th><th scope="col">value</th><th scope="col">default</th></tr></thead><tbody>${changed.join("")}</tbody></table>
<details><summary>${rest.length} settings at their defaults</summary><table class="settings"><tbody>${rest.join("")}</tbody></table></details>`;
}

const section = (title: string, content: string) => (content ? `<section><h2>${title}</h2>${content}</section>` : "");
const table = (rows: readonly (readonly [string, string])[]) =>
  rows.length === 0
    ? ""
    : `<table>${rows.map(([name, value]) => `<tr><th scope="row">${escapeHtml(name)}</th><td>${escapeHtml(value)}</td></tr>`).join("")}</table>`;
const show = (value: unknown) => (value === "" ? '""' : typeof value === "string" ? value : JSON.stringify(value));
const gramName = (n: number) => ["unigram", "bigram", "trigram"][n] ?? `${n + 1}-gram`;
const grouped = (value: number) => value.toLocaleString("en-US");
const millions = (count: number) =>
  count < 1e5 ? grouped(count) : count < 1e9 ? `${(count / 1e6).toFixed(2)} M` : `${(count / 1e9).toFixed(2)} B`;

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${(ms / 1000).toFixed(1)} s`;
  const [minutes, hours] = [Math.floor(seconds / 60) % 60, Math.floor(seconds / 3600)];
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
}
