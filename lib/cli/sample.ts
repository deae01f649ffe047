/**
 * `folio sample`: prints samples of a run as nanoGPT does, each with its prompt and followed by a line of dashes, while
 * they are generated. Only text goes to standard output; the model's description goes to standard error.
 */
import { readTextFile, readTextInput, TEXT_RULE } from "../data/text.js";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";

import type { SampledToken } from "../sample/sample.js";
import { readOverrides } from "../settings/config-files.js";
import { helpText } from "../settings/flags.js";
import { parseSampleSettings, parseSettings, type SampleSettings } from "../settings/settings.js";
import type { TrainedModel } from "../weights/pretrained.js";
import { fetchWeights } from "./shared/download-weights.js";
import { announceDevice } from "./shared/preflight.js";
import { type Io, styled } from "./shared/terminal.js";

export function help(): string {
  return `folio sample: generates text with a trained model.

Usage: folio sample [config file …] [--setting=value …]

Samples from the best checkpoint of the run in out_dir, from another of its checkpoints (--checkpoint=1000, or its
folder as --init_from), or from another model (--init_from). Config files of \`folio train\` can be used: only their
out_dir and the settings below have an effect.
${TEXT_RULE}

  folio sample --out_dir=out-shakespeare-char --num_samples=3
  folio sample --out_dir=out-quickstart --start="interface " --max_new_tokens=200
  folio sample --init_from=gpt2 --start=FILE:prompt.txt --top_p=0.9 --dtype=bfloat16
  echo "To be" | folio sample --out_dir=out-shakespeare-char --start=- --probabilities=True

${helpText("sample")}`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, notes } = await readOverrides("sample", args);
  for (const note of notes) io.stderr.write(`${note}\n`);
  const settings = parseSampleSettings(values);
  const { explainedUse } = await import("../train/failures.js");
  const { noiseWarnings, sample } = await import("../sample/sample.js");
  const { tokenizerFromSpec } = await import("../data/tokenizers/tokenizer.js");
  const { checkFinite } = await import("../weights/finite.js");
  const given = readPrompt(settings.start);
  const { model, spec, step, name, bestValLoss, notes: modelNotes = [] } = await openModel(settings, io);
  checkFinite(model.params, name);
  const tokenizer = tokenizerFromSpec(spec);
  // Without a tokenizer there is no line end; id 0 is the prompt.
  const prompt = spec.kind === "none" && given === "\n" ? "0" : given;
  io.stderr.write(styled(io.stderr, "dim", `sampling from ${name}\n`));
  await announceDevice(settings, model.settings.dtype, io);
  const warnings = [
    ...modelNotes,
    ...noiseWarnings(model, tokenizer, step),
    ...littleLearnt(bestValLoss, tokenizer.vocabSize),
  ];
  for (const warning of warnings) {
    io.stderr.write(styled(io.stderr, "yellow", `Warning: ${warning}\n`));
  }
  const { stop, probabilities, ...rest } = settings;
  const options = { ...rest, prompt, stop: stop === "" ? [] : [stop], alternatives: probabilities ? 5 : 0 };
  const tokens = sample(model, tokenizer, options);
  try {
    if (probabilities) await printProbabilities(tokens, settings, prompt, io);
    else await printSamples(tokens, settings, prompt, io);
  } catch (error) {
    throw explainedUse(error, { ...settings, lower: `numSamples (${settings.numSamples}), or use dtype: "bfloat16"` });
  }
  return 0;
}

/** A warning for a loss near ln(ids), that of uniform guessing, since such a model generates noise. */
export function littleLearnt(bestValLoss: number | null | undefined, vocabSize: number): string[] {
  const guessing = Math.log(vocabSize);
  if (typeof bestValLoss !== "number" || bestValLoss < 0.85 * guessing) return [];
  const losses = `its validation loss is ${bestValLoss.toFixed(2)}, that of guessing ${guessing.toFixed(2)}`;
  return [`The model has learned almost nothing (${losses}): its samples are noise. Train it longer.`];
}

interface OpenModel {
  readonly model: TrainedModel;
  readonly spec: TokenizerSpec;
  readonly step: number | undefined;
  readonly bestValLoss?: number | null;
  readonly name: string;
  /** Notes on its tokenizer. */
  readonly notes?: readonly string[];
}

async function openModel({ outDir, checkpoint, dataDir, ...settings }: SampleSettings, io: Io): Promise<OpenModel> {
  const { chooseCheckpoint, describeCheckpoint, openCheckpoint } = await import("../weights/checkpoint.js");
  const { loadPretrained, nanoGptFile } = await import("../weights/open-weights.js");
  const initFrom = settings.initFrom === "resume" ? (nanoGptFile(outDir) ?? "resume") : settings.initFrom;
  const folder = initFrom === "resume" ? outDir : initFrom;
  const chosen = chooseCheckpoint(folder, checkpoint);
  if (initFrom === "resume" || chosen) {
    const which = chosen ?? ({ outDir: folder, name: "last" } as const); // reading it throws that there is none
    const found = openCheckpoint(which.outDir, which.name, { optimizer: false });
    const { step, bestValLoss, params, settings, tokenizer: spec } = found;
    return {
      model: { params, settings },
      spec,
      step,
      bestValLoss,
      name: describeCheckpoint(which, step),
    };
  }
  await fetchWeights(initFrom, io);
  const { params, model, tokenizer, tokenizerNotes: notes = [] } = await loadPretrained(initFrom, { dataDir });
  // Without a tokenizer, its samples are ids.
  const spec: TokenizerSpec = tokenizer ?? { kind: "none", vocabSize: model.vocabSize };
  const ids = tokenizer ? [] : [`The tokenizer of ${initFrom} is unknown: the prompt and the samples are ids.`];
  return {
    model: { params, settings: parseSettings(model) },
    spec,
    step: undefined,
    name: initFrom,
    notes: [...notes, ...ids],
  };
}

/** `FILE:path` → the file's text, `-` and `FILE:-` → standard input; anything else is the prompt itself. */
export function readPrompt(start: string): string {
  if (start !== "-" && !start.startsWith("FILE:")) return start;
  const path = start === "-" ? "-" : start.slice("FILE:".length);
  return path === "-" ? readTextInput() : readTextFile(path);
}

const dashes = "\n---------------\n";

/**
 * Prints samples in order. All are generated together, so the first is shown while it is generated, and the others
 * follow from memory. @returns the texts, including prompts
 */
export async function printSamples(
  tokens: AsyncIterable<SampledToken>,
  { numSamples }: Pick<SampleSettings, "numSamples">,
  prompt: string,
  io: Io,
): Promise<string[]> {
  const texts = Array.from({ length: numSamples }, () => prompt);
  const write = (text: string) => (io.stdout.writeText ?? io.stdout.write)(text);
  let begun = false;
  for await (const { sample, text } of tokens) {
    // Printed with the first token, when the prompt is known to be valid for the model.
    if (!begun) write(prompt);
    begun = true;
    texts[sample] += text;
    if (sample === 0) write(text);
  }
  write(
    dashes +
      texts
        .slice(1)
        .map((text) => text + dashes)
        .join(""),
  );
  return texts;
}

/** Prints one line per token: its probability, its text, and the likeliest alternatives. */
async function printProbabilities(
  tokens: AsyncIterable<SampledToken>,
  { numSamples }: Pick<SampleSettings, "numSamples">,
  prompt: string,
  io: Io,
): Promise<void> {
  const lines: string[][] = Array.from({ length: numSamples }, () => []);
  let begun = false;
  for await (const { sample, token, probability = 0, alternatives = [] } of tokens) {
    if (!begun) io.stdout.write(`${prompt}\n`);
    begun = true;
    const percent = (share: number) => `${(100 * share).toFixed(1)} %`.padStart(7);
    const others = alternatives.map((other) => `${JSON.stringify(other.text)} ${percent(other.probability).trim()}`);
    const drawn = alternatives.find((other) => other.token === token);
    const name = drawn ? JSON.stringify(drawn.text) : `id ${token}`;
    const line = `${percent(probability)}  ${name.padEnd(14)} of ${others.join(", ")}\n`;
    if (sample === 0) io.stdout.write(line);
    else lines[sample]!.push(line);
  }
  io.stdout.write(dashes);
  for (const later of lines.slice(1)) io.stdout.write(`${prompt}\n${later.join("")}${dashes}`);
}
