/**
 * `folio export`: writes a model as a Hugging Face folder, from a run or from anything that init_from can name, such as
 * nanoGPT's ckpt.pt.
 */
import { setImmediate } from "node:timers/promises";
import { closest } from "fastest-levenshtein";
import { readWords } from "../settings/flags.js";
import { camelCase, checkValue } from "../settings/settings.js";
import type { FloatFormat } from "../weights/safetensors-bytes.js";
import { fetchWeights } from "./shared/download-weights.js";
import { stopOnSignals } from "./shared/stop-signals.js";
import { grouped, type Io } from "./shared/terminal.js";

export function help(): string {
  return `folio export: writes a model as a folder that Python's transformers can load.

Usage: folio export --out_dir=RUN --to=FOLDER [--checkpoint=auto] [--dtype=float32]

  --out_dir=RUN     the run whose checkpoint is exported
  --checkpoint=auto auto (the best, if there is one), best, last, or a step kept by save_interval
  --init_from=…     instead of a run: gpt2, gpt2-medium, gpt2-large, gpt2-xl, a Hugging Face folder, a ckpt.pt,
                    a page's model.safetensors
  --to=FOLDER       the folder to write; it must not exist
  --dtype=float32   how weights are stored: float32, float16, bfloat16

The folder has config.json, model.safetensors, generation_config.json and the tokenizer's files; character models get a
tokenizer.json too. GPT-2 has biases; a model without biases gets zeros, which compute the same.

  folio export --out_dir=out-quickstart --to=my-gpt2
  folio export --init_from=nanoGPT/out/ckpt.pt --to=my-gpt2 --dtype=bfloat16

In Python: AutoModelForCausalLM.from_pretrained("my-gpt2")`;
}

const flags = ["outDir", "initFrom", "checkpoint", "to", "dtype"] as const;
const formats = ["float32", "float16", "bfloat16"] as const;
type Arguments = Partial<Record<(typeof flags)[number], string>>;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { outDir, initFrom, checkpoint, to, dtype = "float32" } = parseArguments(args);
  const source = initFrom ?? outDir;
  if (!source || (initFrom && outDir))
    throw new TypeError("Cannot export: name a run, --out_dir=RUN, or another model, --init_from=…");
  if (!to) throw new TypeError("Cannot export: no folder is named; write --to=FOLDER.");
  if (!(formats as readonly string[]).includes(dtype)) {
    throw new RangeError(`Cannot export: dtype is ${dtype}; wanted ${formats.join(", ")}.`);
  }
  await fetchWeights(source, io);
  const { countParameters } = await import("../model/sizing.js");
  const { loadPretrained } = await import("../weights/open-weights.js");
  const { writeGpt2Folder } = await import("../weights/gpt2-folder.js");
  if (checkpoint !== undefined) checkValue("sample", "checkpoint", checkpoint, "Cannot read --checkpoint");
  // Writing is not interrupted, so that no incomplete folder is left.
  const stop = stopOnSignals(io, (reason) => io.stderr.write(`${reason}: finishing the folder first\n`));
  const pretrained = await loadPretrained(source, checkpoint === undefined ? {} : { checkpoint });
  await setImmediate(); // lets signals in
  if (stop.signal.aborted) return stop.exitCode() ?? 1;
  try {
    writeGpt2Folder(to, pretrained, { floats: dtype as FloatFormat });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new Error(`Cannot export to ${to}: ${message}; choose a folder that can be written.`, { cause: error });
  } finally {
    stop.close();
  }
  const { model, tokenizer, tokenizerNotes = [] } = pretrained;
  io.stdout.write(`${to}: ${grouped(countParameters(model))} parameters in ${dtype}\n`);
  for (const note of tokenizerNotes) io.stdout.write(`Warning: ${note}\n`);
  if (!tokenizer) io.stdout.write("Its tokenizer is unknown: add your tokenizer's files.\n");
  if (tokenizer?.kind === "none") io.stdout.write("Its ids have no text, so there are no tokenizer files.\n");
  return 0;
}

function parseArguments(args: readonly string[]): Arguments {
  const found: Arguments = {};
  readWords(args, {
    word(word) {
      throw new RangeError(`Cannot export: ${word} is not a flag; name the run with --out_dir=${word}.`);
    },
    flag({ written, inline, next }) {
      const key = flags.find((flag) => flag === camelCase(written.replace(/^--?/, "")));
      if (!key) {
        const nearest = closest(written, ["--out_dir", "--init_from", "--checkpoint", "--to", "--dtype"]);
        throw new RangeError(`Cannot export: there is no flag ${written}; did you mean ${nearest}?`);
      }
      const value = inline ?? next();
      if (!value) throw new TypeError(`Cannot export: ${written} has no value; write ${written}=VALUE.`);
      found[key] = value;
    },
  });
  return found;
}
