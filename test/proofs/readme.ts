/**
 * Makes the page of everything that was measured, test/proofs/README.md, and the rows of it that the README shows, from
 * results.json; and the README's picture from the log of the CPU demo.
 */
import fs from "node:fs";
import path from "node:path";
import { toSvg } from "../../lib/charts/figure-svg.js";
import { lossCurve } from "../../lib/charts/loss-curve.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { type Figures, root } from "./proof.js";
import { reproduced, reproducedTable } from "./reproduce.js";

/** An entry of results.json. */
interface Result {
  readonly claim: string;
  readonly holds: boolean;
  readonly figures: Figures;
  readonly date: string;
  readonly commit: string;
  readonly minutes: number;
  readonly versions: Figures;
  readonly machine: Figures;
  /** Checksum of the sources; missing if unknown. */
  readonly sources?: string;
}

/** By proof, then by processor. */
export type Results = Readonly<Record<string, Readonly<Record<string, Result>>>>;

/** Whose rows the README itself shows. */
const inReadme = ["cpu-demo", "bench", "kill-resume", "scaling-coverage"];

/** Rows of each proof: what was measured, in words that are the same on every processor, and the figures of one. */
const rows: Record<string, readonly [what: string, measured: (figures: Figures) => string][]> = {
  "cpu-demo": [
    [
      "nanoGPT's CPU demo, its flags: loss on the whole validation split (nanoGPT's own: 1.898)",
      ({ asInTheReadme, compiled }) => `${group(asInTheReadme).loss} eager, ${group(compiled).loss} compiled`,
    ],
    [
      "… a step of it, median",
      ({ asInTheReadme, compiled }) =>
        `${group(asInTheReadme).medianStepMs} ms eager, ${group(compiled).medianStepMs} ms compiled`,
    ],
  ],
  "cpu-demo-seeds": [
    [
      "… over seeds, mean and 95 % interval: Folio's; nanoGPT's own code in PyTorch; the difference",
      ({ folio, nanogpt, difference, differenceInterval95 }) => {
        const mean = (of: Figures) => `${of.mean} (${of.interval95})`;
        return `${mean(group(folio))}; ${mean(group(nanogpt))}; ${difference} (${differenceInterval95})`;
      },
    ],
  ],
  "char-whole": [
    [
      "train_shakespeare_char as it is, in pieces: best loss on the whole validation split (nanoGPT, on a GPU: 1.4697)",
      ({ bestLoss, bestStep, hours, steps, kills, lastLoss, lastLossAtStep }) =>
        `${bestLoss} at step ${bestStep}; ${hours} hours for ${steps} steps, ${kills} kills; ${lastLoss} at step ${lastLossAtStep}`,
    ],
  ],
  "apple-demo": [
    [
      "The Apple demo's shape, on the processor: loss on the whole validation split (others: about 1.60)",
      ({ loss, hours }) => `${loss}, ${hours} hours`,
    ],
  ],
  bench: [
    [
      "A training step, PyTorch's time over Folio's, each at its best (95 %): 0.8 M parameters",
      (figures) => ratioOf(figures, "small, float32"),
    ],
    ["… the same, each in its best number format", (figures) => ratioOf(figures, "small, best of each")],
    ["… 10.6 M parameters", (figures) => bothFormats(figures, "middle")],
    ["… GPT-2 124M", (figures) => bothFormats(figures, "GPT-2 124M")],
  ],
  sampling: [
    [
      "GPT-2 124M writes, over Hugging Face's rate with its cache",
      ({ float32, bfloat16 }) => `${rateOf(float32)}; bfloat16 ${rateOf(bfloat16)}`,
    ],
    ["The 0.8 M model writes, over nanoGPT's way in PyTorch", ({ small }) => rateOf(small)],
  ],
  "tokenize-speed": [
    [
      "Text into GPT-2's ids",
      ({ oneCoreMegabytesPerSecond, twoCoresMegabytesPerSecond, jsTiktokenMegabytesPerSecond }) =>
        `${oneCoreMegabytesPerSecond} MB/s on a core, ${twoCoresMegabytesPerSecond} on two (js-tiktoken: ${jsTiktokenMegabytesPerSecond})`,
    ],
  ],
  "large-text": [
    [
      "`folio prepare` of 2 GB of text",
      ({ seconds, peakMemoryMegabytes }) => `${seconds} s, at most ${peakMemoryMegabytes} MB of memory`,
    ],
  ],
  golden: [
    [
      "Largest difference from PyTorch, compiled: logits; any gradient, relative to its largest value; 20 losses",
      ({ compiled }) =>
        ["largestDifferenceOfLogits", "largestRelativeDifferenceOfGradients", "largestDifferenceOf20Losses"]
          .map((name) => Number(group(compiled)[name]).toExponential(1))
          .join("; "),
    ],
  ],
  "kill-resume": [
    [
      "A run killed with -9 again and again, and resumed, against one that was not",
      ({ kills, weightsAndMomentsBitEqual }) =>
        `${kills} kills: weights and moments ${weightsAndMomentsBitEqual ? "equal, bit for bit" : "differ"}`,
    ],
  ],
  "sweep-kill": [
    [
      "A sweep killed with -9, a process or all at once, against one that was not",
      ({ killsOfAWorker, killsOfEverything, rowsEqualBitForBit }) =>
        `${killsOfAWorker} and ${killsOfEverything} kills: rows ${rowsEqualBitForBit ? "equal, bit for bit" : "differ"}`,
    ],
  ],
  "scaling-coverage": [["A scaling law's 80 % intervals hold the truth, in simulated sweeps", coverageOf]],
  "sweep-ours": [
    [
      "Our own sweep: its law's prediction of a larger run",
      ({ runs, decades, heldOutOverLargest, predictionErrorPercent, predictionInterval95, heldOutLoss }) => {
        const interval = ofInterval(Number(heldOutLoss), predictionInterval95);
        return `${predictionErrorPercent} % off at ${heldOutOverLargest} times the compute (${runs} runs, ${decades} decades)${interval}`;
      },
    ],
  ],
  mutation: [
    [
      "Small changes of a room's sources that its tests notice (mutation tests), by room",
      (rooms) =>
        Object.entries(rooms)
          .map(([name, figures]) => `${name} ${group(figures).percent} %`)
          .join(", "),
    ],
  ],
  "clean-clone": [
    [
      "In a fresh clone: `npm start`, then `npm test`",
      ({ firstStart, firstTest }) => `${group(firstStart).minutes} min, ${group(firstTest).minutes} min`,
    ],
  ],
};

/** Shares of the constants of each fit, in %, with their own intervals; a fit that warns of its intervals is only counted. */
function coverageOf(figures: Figures): string {
  const fits = Object.entries(figures).flatMap(([name, fit]) =>
    typeof fit === "object" && !name.endsWith(", 95 %") ? [constantsOf(fit)] : [],
  );
  const silent = fits.filter((shares) => !shares.some((share) => share.includes("warned of")));
  const numbers = silent.flat().map((share) => share.match(/[\d.]+/g)!.map(Number));
  const shares = numbers.map(([share]) => share!);
  const widest = Math.max(0, ...numbers.map(([, low = 0, high = 0]) => (high - low) / 2));
  const known = widest > 0 ? ` (each known to ± ${Math.ceil(widest)} or better)` : "";
  const others = fits.length - silent.length;
  const rest = others > 0 ? `; ${others} others, some of whose intervals hold it less often, give a warning` : "";
  return `${Math.min(...shares)} to ${Math.max(...shares)} %${known}, by constant, in ${silent.length} fits${rest}`;
}

/** Constants have short names; "run at 1 C" and the like are predictions, and a vertex is one of a budget. */
const constantsOf = (fit: Figures): string[] =>
  Object.entries(fit).flatMap(([name, share]) => (/^(?!vertex|notConverged)\S+$/.test(name) ? [String(share)] : []));

function ratioOf(figures: Figures, name: string): string {
  const { ratio, interval95 } = group(figures[name]);
  return ratio === undefined ? "not measured" : `${ratio} × (${String(interval95).replace(" - ", " to ")})`;
}

const bothFormats = (figures: Figures, shape: string) =>
  `${ratioOf(figures, `${shape}, float32`)}; bfloat16 ${ratioOf(figures, `${shape}, bfloat16`)}`;

function rateOf(figures: Figures[string] | undefined): string {
  const { tokensPerSecond, ratio } = group(figures);
  return `${tokensPerSecond} tokens/s, ${ratio} ×`;
}

/**
 * A table of results, a column per processor, and where and when they were measured. A result that does not hold stands
 * there too: its figures say so.
 */
export function measuredBlock(results: Results, proofs = Object.keys(rows)): string {
  const shown = Object.entries(rows).filter(([name]) => results[name] && proofs.includes(name));
  const processors = [...new Set(shown.flatMap(([name]) => Object.keys(results[name]!)))];
  const lines = shown.flatMap(([name, ofProof]) =>
    ofProof.map(([what, measured]) => {
      const cells = processors.map((processor) => {
        const result = results[name]![processor];
        return result ? measured(result.figures) : "–";
      });
      return `| ${[what, ...cells].join(" | ")} |`;
    }),
  );
  const where = processors.map((processor) => {
    const ofProcessor = shown.flatMap(([name]) => results[name]![processor] ?? []);
    const days = ofProcessor.map(({ date }) => date.slice(0, 10)).sort();
    const span = [...new Set([days[0], days.at(-1)])].join(" to ");
    return `${processor}, ${ofProcessor[0]!.machine.cores} cores, ${span}`;
  });
  return [
    `| What | ${processors.join(" | ")} |`,
    `| --- |${" --- |".repeat(processors.length)}`,
    ...lines,
    "",
    `Measured on: ${where.join("; ")}.`,
  ].join("\n");
}

/** The page of all results. */
export function measuredPage(results: Results): string {
  return `# Measured

\`npm run proofs -- NAME\` measures one of these again and writes [results.json](results.json), which has date, commit, versions
and machine of each result. A result stays until somebody measures again on that processor; \`npm run proofs -- --stale\` lists
those whose sources have changed since.

${measuredBlock(results)}
`;
}

/** Where the measured loss lies: an error in percent alone does not say whether the prediction's own interval holds it. */
function ofInterval(loss: number, interval: unknown): string {
  const [low, high] = String(interval ?? "")
    .split(" to ")
    .map(Number);
  if (low === undefined || high === undefined || !(low < high))
    return "; the interval of the prediction was not recorded";
  const where = loss < low ? "below" : loss > high ? "above" : "inside";
  return `; the loss, ${loss}, is ${where} the 95 % interval of its prediction, ${low} to ${high}`;
}

/** The processors on which a training step is as much faster than PyTorch's as was asked for. */
function fasterOn({ bench = {} }: Results): string {
  const names = Object.entries(bench).flatMap(([processor, { holds }]) => (holds ? [processor] : []));
  return names.length > 0 ? `on ${names.join(" and ")}` : "on no processor yet";
}

/** The README with new text between its marks. */
export function withMeasured(readme: string, results: Results): string {
  const table = between(readme, "proofs", `\n${measuredBlock(results, inReadme)}\n`);
  const faster = between(table, "faster", fasterOn(results));
  return between(faster, "reproduce", `\n${reproducedTable(results)}\n`);
}

function between(readme: string, mark: string, content: string): string {
  const [begin, end] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`];
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`Cannot update the README: it lacks the marks ${begin} … ${end}.`);
  return readme.slice(0, from + begin.length) + content + readme.slice(to);
}

/** What notebook 18-reproduce reads, in reproduce.json. */
export const reproducedJson = (results: Results): string => `${JSON.stringify(reproduced(results), null, 2)}\n`;

/** Writes README.md, the page of results, reproduce.json, and curve.svg when the CPU demo's run is still there. */
export function updateReadme(results: Results): void {
  const file = path.join(root, "README.md");
  fs.writeFileSync(file, withMeasured(fs.readFileSync(file, "utf8"), results));
  fs.writeFileSync(path.join(root, "test", "proofs", "README.md"), measuredPage(results));
  fs.writeFileSync(path.join(root, "test", "proofs", "reproduce.json"), reproducedJson(results));
  const records = readRunLog(path.join(root, ".cache", "proofs", "cpu-demo", "compiled"));
  if (records.length === 0) return;
  const title = "nanoGPT's CPU demo: 0.8 million parameters learn Shakespeare, character by character";
  const curve = lossCurve(records, { title, unit: "nats per character" });
  fs.writeFileSync(path.join(root, "test", "proofs", "curve.svg"), `${toSvg(curve, { width: 820, height: 400 })}\n`);
}

function group(figures: Figures[string] | undefined): Figures {
  return typeof figures === "object" ? figures : {};
}
