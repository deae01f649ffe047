/**
 * `folio sample`: prints samples of a run as nanoGPT does, each with its prompt and a line of dashes after it, while
 * they are being written. Only text goes to standard output; what it is sampled from goes to standard error.
 */
import { readFileSync } from "node:fs";
import { parseSampleSettings, type SampleSettings } from "../config.js";
import { helpText, readOverrides } from "../overrides.js";
import type { SampledToken } from "../sample.js";
import { type Io, styled } from "./terminal.js";

export function help(): string {
  return `folio sample: writes text with a trained model.

Usage: folio sample [config file …] [--setting=value …]

Samples from the best checkpoint of the run in out_dir. Config files of \`folio train\` do: only their out_dir and the
settings below count.

  folio sample --out_dir=out-shakespeare-char --num_samples=3
  folio sample --out_dir=out-quickstart --start="interface " --max_new_tokens=200
  folio sample --out_dir=out-quickstart --start=FILE:prompt.txt

${helpText("sample")}`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const settings = parseSampleSettings((await readOverrides("sample", args)).values);
  const { hasCheckpoint, openCheckpoint } = await import("../checkpoint.js");
  const { sample } = await import("../sample.js");
  const { tokenizerFromSpec } = await import("../tokenizer.js");
  const prompt = readPrompt(settings.start);
  const which = hasCheckpoint(settings.outDir, "best") ? "best" : "last";
  const { step, ...checkpoint } = openCheckpoint(settings.outDir, which, { optimizer: false });
  const dtype = settings.dtype === "auto" ? checkpoint.settings.dtype : settings.dtype;
  const model = { params: checkpoint.params, settings: { ...checkpoint.settings, dtype } };
  io.stderr.write(styled(io.stderr, "dim", `sampling from ${settings.outDir}, ${which} checkpoint, step ${step}\n`));
  const { numSamples, maxNewTokens, temperature, topK, seed, compile, device } = settings;
  const options = { prompt, numSamples, maxNewTokens, temperature, topK, seed, compile, device };
  await printSamples(sample(model, tokenizerFromSpec(checkpoint.tokenizer), options), settings, prompt, io);
  return 0;
}

/** `FILE:path` → the file's text; anything else is the prompt itself. */
export function readPrompt(start: string): string {
  if (!start.startsWith("FILE:")) return start;
  const path = start.slice("FILE:".length);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`Cannot read the prompt ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Prints samples in order. They are written side by side, one token of each in turn, so the first is shown as it is
 * written and the others follow from memory. @returns the texts, prompts included
 */
export async function printSamples(
  tokens: AsyncIterable<SampledToken>,
  { numSamples }: Pick<SampleSettings, "numSamples">,
  prompt: string,
  io: Io,
): Promise<string[]> {
  const texts = Array.from({ length: numSamples }, () => prompt);
  io.stdout.write(prompt);
  for await (const { sample, text } of tokens) {
    texts[sample] += text;
    if (sample === 0) io.stdout.write(text);
  }
  const dashes = "\n---------------\n";
  io.stdout.write(
    dashes +
      texts
        .slice(1)
        .map((text) => text + dashes)
        .join(""),
  );
  return texts;
}
