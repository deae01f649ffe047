/**
 * `folio bench`: shows the results of lib/bench/bench.ts as a table, and writes them as JSON, as a chart and as traces.
 * On a terminal it shows a progress line; Ctrl-C ends the processes and writes nothing.
 */
import fs from "node:fs";
import path from "node:path";
import type { BenchResult, ModeResult } from "../bench/bench.js";
import { chromeTrace, type OperationTime, timeByPart, timeByType } from "../engine/profile.js";
import { readOverrides } from "../settings/config-files.js";
import { helpText } from "../settings/flags.js";
import { type BenchSettings, parseBenchSettings } from "../settings/settings.js";
import { checkOutput } from "./shared/output-file.js";
import { stopOnSignals } from "./shared/stop-signals.js";
import { grouped, type Io, millions, openProgress, styled, table } from "./shared/terminal.js";

export function help(): string {
  return `folio bench: measures training speed on this machine.

Usage: folio bench [config file …] [--setting=value …]

Times complete training steps (batch, forward, backward, clipping, AdamW) of the model described by the settings of
\`folio train\`. Each mode runs in a process of its own, in turn with the others and with matrix products, which show the
machine's peak. FLOPs are counted by nanoGPT's formula, 6N + 12·L·H·Q·T per token, N without position embeddings.

  folio bench bench_small
  folio bench bench_middle --compile=both --dtype=float32,bfloat16 --json=bench.json --chart=bench.svg
  folio bench cpu_demo --profile --out_dir=out-bench
  folio bench bench_gpt2 --peer=python3           against PyTorch in that Python
  folio bench bench_middle --devices=1,2          two devices against one: efficiency, and the mean of their gradients

${helpText("bench")}`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { files, values, notes } = await readOverrides("bench", args);
  for (const note of notes) io.stderr.write(`${note}\n`);
  // Presets name a run's folder, which a benchmark must not use.
  const named = args.some((arg) => /^--(no-)?out[-_]?dir\b/i.test(arg));
  // Traces need a folder.
  const outDir = values.profile === true ? "out-bench" : "";
  const settings = parseBenchSettings({ ...values, ...(named ? {} : { outDir }) });
  const outputs = outputFiles(settings);
  for (const file of files) io.stdout.write(`Overriding config with ${file}\n`);
  const found = await measure(settings, io);
  if (found.exitCode !== undefined) return found.exitCode;
  const { result } = found;
  io.stdout.write(`${describeResult(result, io).join("\n")}\n`);
  await writeOutputs(result, outputs, io);
  return 0;
}

async function measure(
  settings: Readonly<BenchSettings>,
  io: Io,
): Promise<{ exitCode: number } | { exitCode?: undefined; result: BenchResult }> {
  const { bench } = await import("../bench/bench.js");
  const progress = openProgress(io.stdout);
  const stop = stopOnSignals(io, () => {});
  try {
    for await (const record of bench(settings, { signal: stop.signal })) {
      if (record.kind === "result") return { result: record.result };
      progress.update(record.done, record.total, record.doing);
    }
  } finally {
    progress.close();
    stop.close();
  }
  const output = stop.heard(io);
  output.write(`${styled(output, "yellow", "stopped: nothing was written.")}\n`);
  return { exitCode: stop.exitCode() ?? 1 };
}

// -------------------------------------------------------------------------------------------------------- the table

/** A result as people read it. */
export function describeResult(result: BenchResult, io: Io): string[] {
  const { settings, parameters, tokensPerStep, flopsPerToken, machine, peaks, modes, ratios, notes } = result;
  const { nLayer, nHead, nEmbd, batchSize, blockSize, vocabSize } = settings;
  const [head, ...rows] = modeTable(result);
  const versions = [`Folio ${result.folio}`, ...new Set(modes.map(({ version }) => version)), `Node ${result.node}`];
  const shownPeaks = peaks.map(({ dtype, gigaflops, size }) => `${grouped(gigaflops)} GFLOP/s ${dtype} (${size}³)`);
  return [
    `model: ${nLayer}L ${nHead}H ${nEmbd}, batch ${batchSize} × ${blockSize}, vocabulary ${grouped(vocabSize)}, ${millions(parameters)} parameters without positions`,
    `per step: ${grouped(tokensPerStep)} tokens of ${result.data}, ${((tokensPerStep * flopsPerToken) / 1e9).toPrecision(3)} GFLOP by 6N + 12·L·H·Q·T per token`,
    `machine: ${result.device}, ${machine.cores} cores, load ${machine.loadBefore} before; ${versions.join(", ")}`,
    `matrix products reach ${shownPeaks.join(", ")}`,
    "",
    styled(io.stdout, "bold", head!),
    ...rows,
    ...(ratios.length > 0 ? ["", ...ratioLines(result)] : []),
    ...(result.devices.length > 0 ? ["", ...deviceLines(result)] : []),
    ...result.profiles.flatMap((profile) => ["", ...profileLines(profile, io)]),
    ...(notes.length > 0 ? ["", ...notes.map((note) => styled(io.stdout, "yellow", `note: ${note}`))] : []),
  ];
}

const engines = { folio: "Folio", pytorch: "PyTorch" } as const;

function modeTable({ modes }: BenchResult): string[] {
  const withMfu = modes.some(({ mfu }) => mfu !== undefined);
  const mib = (bytes: number) => grouped(bytes / 2 ** 20);
  const percent = (share: number) => (Number.isFinite(share) ? (100 * share).toFixed(1) : "-");
  const head = ["mode", "dtype", "ms/step", "min", "quartiles", "tokens/s", "GFLOP/s", "% of peak"];
  return table(
    [...head, ...(withMfu ? ["MFU %"] : []), "MiB", "MiB at start", "first step s"],
    modes.map((mode: ModeResult) => [
      `${engines[mode.engine]} ${mode.compiled ? "compiled" : "eager"}${mode.devices > 1 ? `, ${mode.devices} devices` : ""}`,
      mode.dtype,
      milliseconds(mode.medianMs),
      milliseconds(mode.minMs),
      mode.quartilesMs.map(milliseconds).join(" - "),
      grouped(mode.tokensPerSecond),
      mode.gigaflops.toFixed(1),
      percent(mode.shareOfPeak),
      ...(withMfu ? [percent(mode.mfu ?? Number.NaN)] : []),
      mib(mode.peakBytes),
      mib(mode.startPeakBytes),
      (mode.firstStepMs / 1000).toFixed(2),
    ]),
  );
}

const milliseconds = (ms: number): string => ms.toFixed(ms < 100 ? 2 : 1);

function ratioLines({ ratios }: BenchResult): string[] {
  return table(
    ["speed over PyTorch", "", "95 % interval", "Folio's best", "PyTorch's best"],
    ratios.map(({ dtype, ratio, low, high, folio, pytorch }) => [
      dtype,
      ratio.toFixed(3),
      `${low.toFixed(3)} - ${high.toFixed(3)}`,
      folio.replace("Folio ", ""),
      pytorch.replace("PyTorch ", ""),
    ]),
  );
}

/** What several devices gain and cost. */
function deviceLines({ devices }: BenchResult): string[] {
  return table(
    [
      "devices",
      "dtype",
      "efficiency",
      "95 % interval",
      "MB sent by each",
      "mean alone ms",
      "step without ms",
      "hidden %",
      "step ms",
      "by the model",
    ],
    devices.map((row) => [
      String(row.devices),
      row.dtype,
      row.efficiency.toFixed(3),
      `${row.low.toFixed(3)} - ${row.high.toFixed(3)}`,
      (row.bytesSent / 1e6).toFixed(1),
      milliseconds(row.meanMs),
      milliseconds(row.apartMs),
      (100 * row.hidden).toFixed(0),
      milliseconds(row.medianMs),
      milliseconds(row.predictedMs),
    ]),
  );
}

/** How a profiled step's time is spent: by type of operation, the largest first, and by part of the model. */
function profileLines({ mode, steps }: BenchResult["profiles"][number], io: Io): string[] {
  const wallMs = steps.reduce((sum, { micros }) => sum + micros, 0) / steps.length / 1000;
  const lines = (title: string, times: readonly OperationTime[]) =>
    table(
      [title, "count", "thread ms", "%"],
      times.map(({ name, count, micros, share }) => [
        name,
        String(Math.round(count)),
        (micros / 1000).toFixed(2),
        (100 * share).toFixed(1),
      ]),
    );
  const types = timeByType(steps);
  const shown = types.slice(0, 15);
  const rest = types.slice(15);
  const sum = (of: "count" | "micros" | "share") => rest.reduce((total, row) => total + row[of], 0);
  const others = { name: `${rest.length} others`, count: sum("count"), micros: sum("micros"), share: sum("share") };
  const [typeHead, ...typeRows] = lines("operation", rest.length > 0 ? [...shown, others] : shown);
  const [partHead, ...partRows] = lines("part of the model", timeByPart(steps));
  const bold = (line: string) => styled(io.stdout, "bold", line);
  return [
    `${mode}, profiled (which slows it): ${wallMs.toFixed(1)} ms per step; threads run in parallel, so sums are larger`,
    bold(typeHead!),
    ...typeRows,
    "",
    bold(partHead!),
    ...partRows,
  ];
}

// -------------------------------------------------------------------------------------------------------- the files

/** Files to write, by their content. */
interface Outputs {
  readonly json: readonly string[];
  readonly charts: readonly string[];
}

/** Checks the files before anything is measured. */
function outputFiles({ json, chart, outDir }: Readonly<BenchSettings>): Outputs {
  if (chart !== "" && !/\.(svg|html)$/.test(chart)) {
    throw new RangeError(`Cannot draw ${chart}: a chart is a file that ends in .svg or .html.`);
  }
  const inFolder = (name: string) => (outDir === "" ? [] : [path.join(outDir, name)]);
  const given = (file: string) => (file === "" ? [] : [file]);
  const outputs = {
    json: [...given(json), ...inFolder("bench.json")],
    charts: [...given(chart), ...inFolder("bench.svg"), ...inFolder("bench.html")],
  };
  for (const file of [...outputs.json, ...outputs.charts]) {
    if (outDir !== "") fs.mkdirSync(outDir, { recursive: true });
    checkOutput(file, file === json ? "--json" : "--chart", []);
  }
  return outputs;
}

async function writeOutputs(result: BenchResult, { json, charts }: Outputs, io: Io): Promise<void> {
  // Traces have files of their own; the JSON has their sums.
  const profiles = result.profiles.map(({ mode, steps }) => ({
    mode,
    types: timeByType(steps),
    parts: timeByPart(steps),
  }));
  for (const file of json) fs.writeFileSync(file, `${JSON.stringify({ ...result, profiles }, null, 2)}\n`);
  for (const file of charts) fs.writeFileSync(file, await drawn(result, file));
  const traces = result.profiles.map(({ mode, steps }) => {
    const file = path.join(result.settings.outDir, `trace-${mode.toLowerCase().replaceAll(" ", "-")}.json`);
    fs.writeFileSync(file, JSON.stringify(chromeTrace(steps, mode)));
    return file;
  });
  if (traces.length > 0) io.stdout.write("open a trace at https://ui.perfetto.dev or in chrome://tracing\n");
  const written = [...json, ...charts, ...traces];
  if (written.length > 0) io.stdout.write(`wrote ${written.join(", ")}\n`);
}

/** Draws the milliseconds of each timed step in order, one line per mode. */
async function drawn({ modes, settings }: BenchResult, file: string): Promise<string> {
  const { lineChart, toHtml } = await import("../charts/line-chart.js");
  const { toSvg } = await import("../charts/figure-svg.js");
  const { modeName } = await import("../bench/modes.js");
  const { nLayer, nHead, nEmbd, batchSize, blockSize } = settings;
  const title = `A training step, ${nLayer}L ${nHead}H ${nEmbd}, ${batchSize} × ${blockSize}`;
  const figure = lineChart({
    title,
    xLabel: "step",
    yLabel: "milliseconds",
    series: modes.map((mode) => {
      const times = mode.rounds.flat();
      return { name: modeName(mode), x: times.map((_, index) => index + 1), y: times, width: 1.5 };
    }),
    lines: modes.map((mode) => ({ y: mode.medianMs, label: `${mode.medianMs.toFixed(1)} ms` })),
  });
  return file.endsWith(".html") ? toHtml(figure, { title }) : toSvg(figure);
}
