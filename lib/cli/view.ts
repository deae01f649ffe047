/** `folio view`: writes a model as a page in which it runs, is looked into and is trained on. */
import path from "node:path";
import { closest } from "fastest-levenshtein";
import { readTextFile, TEXT_RULE } from "../data/text.js";
import { readWords, snakeCase } from "../settings/flags.js";
import { camelCase, checkValue } from "../settings/settings.js";
import { fetchWeights } from "./shared/download-weights.js";
import { checkOutput } from "./shared/output-file.js";
import type { Io } from "./shared/terminal.js";

export function help(): string {
  return `folio view: writes a model as a page, one file that works without a network.

Usage: folio view MODEL --to=FILE.html [--text=FILE] [--prompt=TEXT] [--checkpoint=auto] [--dtype=auto]

  MODEL             a run's folder; or induction, gpt2, gpt2-medium, …, a Hugging Face folder, a ckpt.pt, or a
                    model.safetensors that a page saved
  --to=FILE.html    the page to write; a page that is there is replaced
  --text=FILE       a text to train on in the page; it travels with it
  --prompt=TEXT     the prompt that is shown first; default: the beginning of the text
  --title=TEXT      the heading; default: the model's name
  --checkpoint=auto of a run: auto (the best, if there is one), best, last, or a step kept by save_interval
  --dtype=auto      how weights are stored: float32, float16, or auto: float16 where no probability changes by 0.0005

In the page one types and sees tokens, losses, the next token's probabilities and every head's attention; switches heads
off, edits values, compares prompts, writes on, trains on, and saves the weights, which --init_from takes. A tour of
eight stations is for a lecture. The page computes with WebAssembly, or with WebGPU where that is faster.
${TEXT_RULE}

  folio view out-quickstart --to=model.html
  folio view induction --to=induction.html --text=poems.txt`;
}

const flags = ["to", "text", "prompt", "title", "checkpoint", "dtype"] as const;
const formats = ["auto", "float32", "float16"] as const;
type Arguments = Partial<Record<(typeof flags)[number], string>> & { source?: string };

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { source, to, text, prompt, title, checkpoint, dtype = "auto" } = parseArguments(args);
  if (!source) throw new TypeError("Cannot make a page: no model is named; write folio view RUN --to=FILE.html.");
  if (!to) throw new TypeError("Cannot make a page: no file is named; write --to=FILE.html.");
  if (!/\.html?$/i.test(to))
    throw new RangeError(`Cannot make a page: --to is ${to}; wanted a name that ends in .html.`);
  const wanted = formats.find((format) => format === dtype);
  if (!wanted) throw new RangeError(`Cannot make a page: dtype is ${dtype}; wanted ${formats.join(", ")}.`);
  if (checkpoint !== undefined) checkValue("sample", "checkpoint", checkpoint, "Cannot read --checkpoint");
  checkOutput(to, "--to", text === undefined ? [source] : [source, text]);
  const given = text === undefined ? undefined : readTextFile(text);
  await fetchWeights(source, io);
  const { openModel } = await import("../weights/open-model.js");
  const { writeLivePage } = await import("../inspect/live/write-page.js");
  const model = await openModel(source, checkpoint === undefined ? {} : { checkpoint });
  const page = await writeLivePage(model, to, {
    title: title ?? path.basename(path.resolve(source)),
    dtype: wanted,
    ...(given !== undefined && { text: given }),
    ...(prompt !== undefined && { prompt }),
  });
  io.stdout.write(`${page.text()}\n`);
  return 0;
}

function parseArguments(args: readonly string[]): Arguments {
  const found: Arguments = {};
  readWords(args, {
    word(word) {
      if (found.source) throw new RangeError(`Cannot make a page: ${word} is a second model; name one.`);
      found.source = word;
    },
    flag({ written, inline, next }) {
      const key = flags.find((flag) => flag === camelCase(written.replace(/^--?/, "")));
      if (!key) {
        const nearest = closest(
          written,
          flags.map((flag) => `--${snakeCase(flag)}`),
        );
        throw new RangeError(`Cannot make a page: there is no flag ${written}; did you mean ${nearest}?`);
      }
      const value = inline ?? next();
      if (!value) throw new TypeError(`Cannot make a page: ${written} has no value; write ${written}=VALUE.`);
      found[key] = value;
    },
  });
  return found;
}
