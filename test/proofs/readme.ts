/** Makes the README's "Measured" from results.json, and its picture from the log of the CPU demo. */
import fs from "node:fs";
import path from "node:path";
import { toSvg } from "../../lib/charts/figure-svg.js";
import { lossCurve } from "../../lib/charts/loss-curve.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { type Figures, root } from "./proof.js";

/** What is read here of an entry of results.json. */
interface Entry {
  readonly holds: boolean;
  readonly figures: Figures;
  readonly date: string;
  readonly machine: Figures;
}

const begin = "<!-- proofs -->";
const end = "<!-- /proofs -->";

/** One row a proof: what was measured, in the words of its figures. A proof without a result has no row. */
const rows: Record<string, (figures: Figures) => [what: string, measured: string][]> = {
  "cpu-demo": (figures) => {
    const [eager, compiled] = [group(figures, "asInTheReadme"), group(figures, "compiled")];
    return [
      [
        "nanoGPT's CPU demo, its flags: loss on the whole validation split (nanoGPT's own: 1.898)",
        `${eager.loss} eager, ${compiled.loss} compiled`,
      ],
      ["… a step of it, median", `${eager.medianStepMs} ms eager, ${compiled.medianStepMs} ms compiled`],
    ];
  },
  bench: (figures) => {
    const shape = (name: string) => {
      const { ratio, interval95 } = group(figures, name);
      return `${ratio} × (${String(interval95).replace(" - ", " to ")})`;
    };
    return [
      [
        "A training step, PyTorch's time over Folio's, each at its best (95 %): 0.8 M parameters",
        shape("small, float32"),
      ],
      ["… the same, each in its best number format", shape("small, best of each")],
      ["… 10.6 M parameters", `${shape("middle, float32")}; bfloat16 ${shape("middle, bfloat16")}`],
      ["… GPT-2 124M", `${shape("GPT-2 124M, float32")}; bfloat16 ${shape("GPT-2 124M, bfloat16")}`],
    ];
  },
  sampling: (figures) => {
    const of = (name: string) => {
      const { tokensPerSecond, ratio } = group(figures, name);
      return `${tokensPerSecond} tokens/s, ${ratio} ×`;
    };
    return [
      ["GPT-2 124M writes, over Hugging Face's rate with its cache", `${of("float32")}; bfloat16 ${of("bfloat16")}`],
      ["The 0.8 M model writes, over nanoGPT's way in PyTorch", of("small")],
    ];
  },
  "tokenize-speed": ({ oneCoreMegabytesPerSecond, twoCoresMegabytesPerSecond, jsTiktokenMegabytesPerSecond }) => [
    [
      "Text into GPT-2's ids",
      `${oneCoreMegabytesPerSecond} MB/s on a core, ${twoCoresMegabytesPerSecond} on two (js-tiktoken: ${jsTiktokenMegabytesPerSecond})`,
    ],
  ],
  "large-text": ({ seconds, peakMemoryMegabytes }) => [
    ["`folio prepare` of 2 GB of text", `${seconds} s, at most ${peakMemoryMegabytes} MB of memory`],
  ],
  golden: (figures) => {
    const [eager, compiled] = [group(figures, "eager"), group(figures, "compiled")];
    const short = (value: Figures[string] | undefined) => Number(value).toExponential(1);
    const pair = (name: string) => `${short(eager[name])} eager, ${short(compiled[name])} compiled`;
    return [
      ["Largest difference from PyTorch: logits", pair("largestDifferenceOfLogits")],
      ["… any gradient, relative to its largest value", pair("largestRelativeDifferenceOfGradients")],
      ["… 20 losses under AdamW", pair("largestDifferenceOf20Losses")],
    ];
  },
  "kill-resume": (figures) => [
    [
      `A run killed with -9 ${figures.kills} times and resumed, against one that was not`,
      figures.weightsAndMomentsBitEqual ? "weights and moments equal, bit for bit" : "weights differ",
    ],
  ],
  "prepare-shakespeare": ({ trainIds, valIds, characters }) => [
    ["`folio prepare shakespeare_char`", `${grouped(trainIds)} / ${grouped(valIds)} ids, ${characters} characters`],
  ],
  "scaling-speed": ({ points, starts, fitSeconds, refits, refitSeconds }) => [
    [
      `A scaling law's fit: ${points} trainings from ${grouped(starts)} starts, then ${grouped(refits)} bootstrap refits`,
      `${fitSeconds} s, ${refitSeconds} s`,
    ],
  ],
  "scaling-coverage": ({ sweeps, ...groups }) => {
    const shares = Object.values(groups)
      .flatMap((of) => (typeof of === "object" ? Object.values(of as Figures) : []))
      .filter((share) => typeof share === "number"); // beside them stand their own intervals, as text
    const [least, most] = [Math.min, Math.max].map((of) => of(...shares.map(Number)));
    return [
      [
        `… its 80 % intervals hold the truth, in ${sweeps} simulated sweeps`,
        `${least} to ${most} % of them, by constant`,
      ],
    ];
  },
  "sweep-kill": ({ killsOfAWorker, killsOfEverything, rowsEqualBitForBit }) => [
    [
      `A sweep killed with -9, ${killsOfAWorker} times a process and ${killsOfEverything} times all, against one that was not`,
      rowsEqualBitForBit ? "rows equal, bit for bit" : "rows differ",
    ],
  ],
  "sweep-ours": ({ runs, decades, heldOutOverLargest, predictionErrorPercent }) => [
    [
      `Our own sweep, ${runs} runs over ${decades} decades: its law's prediction of a run of ${heldOutOverLargest} times the compute`,
      `${predictionErrorPercent} % off`,
    ],
  ],
  "clean-clone": (figures) => {
    const minutes = (name: string) => group(figures, name).minutes;
    return [
      ["`npm start` in a fresh clone, then again", `${minutes("firstStart")} min, ${minutes("secondStart")} min`],
      ["`npm test` after it, then again", `${minutes("firstTest")} min, ${minutes("secondTest")} min`],
    ];
  },
};

/** The block of the README that stands between the marks. */
export function measuredBlock(results: Readonly<Record<string, Entry>>): string {
  const known = Object.entries(rows).filter(([name]) => results[name]?.holds);
  const byDate = known.map(([name]) => results[name]!).sort((a, b) => (a.date < b.date ? 1 : -1));
  const [last, first] = [byDate[0], byDate.at(-1)];
  if (!last || !first) return `${begin}\n${end}`;
  const { machine } = last;
  const days = [...new Set([first, last].map(({ date }) => date.slice(0, 10)))].join(" to ");
  const lines = known.flatMap(([name, row]) => row(results[name]!.figures).map((cells) => `| ${cells.join(" | ")} |`));
  const where = `${machine.cpu}, ${machine.cores} cores, ${days}`;
  return [
    begin,
    "| What | Measured |",
    "| --- | --- |",
    ...lines,
    "",
    `On ${where}, by \`npm run proofs\`, which writes [test/proofs/results.json](test/proofs/results.json).`,
    end,
  ].join("\n");
}

/** README with a new block. */
export function withMeasured(readme: string, results: Readonly<Record<string, Entry>>): string {
  const [from, to] = [readme.indexOf(begin), readme.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`Cannot update the README: it lacks the marks ${begin} … ${end}.`);
  return readme.slice(0, from) + measuredBlock(results) + readme.slice(to + end.length);
}

/** Writes README.md, and curve.svg when the CPU demo's run is still there. */
export function updateReadme(results: Readonly<Record<string, Entry>>): void {
  const file = path.join(root, "README.md");
  fs.writeFileSync(file, withMeasured(fs.readFileSync(file, "utf8"), results));
  const records = readRunLog(path.join(root, ".cache", "proofs", "cpu-demo", "compiled"));
  if (records.length === 0) return;
  const title = "nanoGPT's CPU demo: 0.8 million parameters learn Shakespeare, character by character";
  const curve = lossCurve(records, { title, unit: "nats a character" });
  fs.writeFileSync(path.join(root, "test", "proofs", "curve.svg"), `${toSvg(curve, { width: 820, height: 400 })}\n`);
}

function group(figures: Figures, name: string): Figures {
  return figures[name] as Figures;
}

function grouped(value: Figures[string] | undefined): string {
  return Number(value).toLocaleString("en");
}
