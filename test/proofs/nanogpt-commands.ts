import fs from "node:fs";
import path from "node:path";
import { toHost } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { initialParameters } from "../../lib/model/model.js";
import { parseSettings } from "../../lib/settings/settings.js";
import { gpt2Names, writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { type Finished, finish, folioCommand, type Proof, root } from "./proof.js";

const cpuFlags =
  "--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0";
const tiny = "--n_layer=2 --n_head=2 --n_embd=32 --block_size=32 --batch_size=2";
const short = "--max_iters=4 --eval_interval=2 --eval_iters=2 --log_interval=1";
const brief = "--num_samples=2 --max_new_tokens=20";
const question = "What is the answer to life, the universe, and everything?";

/** The commands of nanoGPT's README, each with the flags that scale it down here. */
const commands: readonly (readonly [nanoGpt: string, ...scaled: string[]])[] = [
  ["python data/shakespeare_char/prepare.py"],
  ["python train.py config/train_shakespeare_char.py", ...`${tiny} ${short}`.split(" ")],
  ["python sample.py --out_dir=out-shakespeare-char", ...brief.split(" ")],
  [`python train.py config/train_shakespeare_char.py ${cpuFlags}`, "--overwrite", ...short.split(" ")],
  ["python sample.py --out_dir=out-shakespeare-char --device=cpu", ...brief.split(" ")],
  ["python data/shakespeare/prepare.py"],
  ["python train.py config/train_gpt2.py", ...`${tiny} ${short} --gradient_accumulation_steps=2`.split(" ")],
  ["python sample.py", ...brief.split(" ")],
  ...["gpt2", "gpt2_medium", "gpt2_large", "gpt2_xl"].map(
    (name) => [`python train.py config/eval_${name}.py`, "--eval_iters=2", "--batch_size=2"] as const,
  ),
  [
    "python train.py config/finetune_shakespeare.py",
    "--gradient_accumulation_steps=2",
    "--max_iters=6",
    "--eval_iters=2",
  ],
  ["python sample.py --out_dir=out-shakespeare", ...brief.split(" ")],
  [`python sample.py --init_from=gpt2-xl --start="${question}" --num_samples=5 --max_new_tokens=100`],
  ["python sample.py --start=FILE:prompt.txt", ...brief.split(" ")],
  ["python bench.py", ...`${tiny} --burn_in=1 --steps=2 --rounds=1`.split(" ")],
];

/** The arguments of folio: the same words without the program. */
function translated(command: string): string[] {
  const words = [...command.matchAll(/(?:[^\s"]|"[^"]*")+/g)].map(([word]) => word.replaceAll('"', ""));
  const prepare = /^data\/(\w+)\/prepare\.py$/.exec(words[1]!)?.[1];
  return prepare ? ["prepare", prepare, ...words.slice(2)] : [words[1]!.replace(".py", ""), ...words.slice(2)];
}

// Patterns of scripts for nanoGPT's logs.
const patterns = {
  iteration: /^iter (\d+): loss (\d+\.\d{4}), time (\d+\.\d{2})ms, mfu (-?\d+\.\d{2})%$/gm,
  evaluation: /^step (\d+): train loss (\d+\.\d{4}), val loss (\d+\.\d{4})$/gm,
  parameters: /^number of parameters: (\d+\.\d{2})M$/gm,
  tokens: /^tokens per iteration will be: ([\d,]+)$/gm,
  decayed: /^num decayed parameter tensors: (\d+), with ([\d,]+) parameters$/gm,
  undecayed: /^num non-decayed parameter tensors: (\d+), with ([\d,]+) parameters$/gm,
  saved: /^saving checkpoint to (\S+)$/gm,
};

const counts = (output: string): Record<string, number> =>
  Object.fromEntries(Object.entries(patterns).map(([name, pattern]) => [name, [...output.matchAll(pattern)].length]));

/** Random weights of a small shape under GPT-2's names, because the hub may be unreachable. */
async function writeWeights(folder: string): Promise<void> {
  loadTensorFlow();
  const { nLayer, nHead, nEmbd, blockSize, tieHead } = parseSettings({ nLayer: 2, nHead: 2, nEmbd: 16 });
  const model = { nLayer, nHead, nEmbd, blockSize, tieHead, vocabSize: 50_257, bias: true, gelu: "tanh" as const };
  const tensors = Object.entries(initialParameters({ ...model, dropout: 0 }, 1));
  const params = Object.fromEntries(
    await Promise.all(tensors.map(async ([name, t]) => [name, await toHost(t)] as const)),
  );
  for (const [, tensor] of tensors) tensor.dispose();
  for (const name of gpt2Names)
    writeGpt2Folder(path.join(folder, name), { params, model, tokenizer: { kind: "gpt2" } });
}

export const nanogptCommands: Proof = {
  name: "nanogpt-commands",
  claim:
    "The commands of nanoGPT's README run with the same words and flags, scaled down only by more flags, and print the lines that scripts for nanoGPT's logs search for",
  inputs: ["lib", "bin", "configs", "data/shakespeare", "data/shakespeare_char"],
  async run({ folder, say }) {
    // The texts that are already on this machine, and weights under GPT-2's names.
    const texts = path.join(folder, "texts");
    fs.mkdirSync(texts);
    const given = process.env.FOLIO_DATA_DIR;
    if (given)
      for (const name of fs.readdirSync(given)) fs.symlinkSync(path.resolve(given, name), path.join(texts, name));
    await writeWeights(texts);
    fs.writeFileSync(path.join(folder, "prompt.txt"), "Once upon a time");
    const failed: string[] = [];
    const lines: Record<string, number> = {};
    let samples = 0;
    for (const [command, ...scaled] of commands) {
      const words = [...translated(command), ...scaled];
      const program = ["FOLIO_DATA_DIR=".concat(texts), process.execPath, path.join(root, folioCommand), ...words];
      const { code, output }: Finished = await finish("env", program, folder);
      const printed = counts(output);
      for (const [name, count] of Object.entries(printed)) lines[name] = (lines[name] ?? 0) + count;
      samples += output.split("\n---------------\n").length - 1;
      const trained = /config\/(train|finetune)/.test(command);
      const complete = !trained || Object.values(printed).every((count) => count > 0);
      say(`${code === 0 && complete ? "ran" : "FAILED"}: ${command}`);
      if (code !== 0 || !complete) {
        failed.push(command);
        say(output.slice(-600));
      }
      if (command === "python data/shakespeare/prepare.py") standIn(folder);
    }
    const enough = (lines.iteration ?? 0) >= 18 && (lines.evaluation ?? 0) >= 11 && samples >= 13;
    const figures = { commands: commands.length, failed: failed.length, samples, linesParsed: lines };
    return { holds: failed.length === 0 && enough, figures };
  },
};

/** Replaces OpenWebText, which has 54 GB, by Shakespeare in the same tokens. */
function standIn(folder: string): void {
  const copy = path.join(folder, "data", "openwebtext");
  fs.cpSync(path.join(folder, "data", "shakespeare"), copy, { recursive: true });
  const file = path.join(copy, "meta.json");
  const meta = JSON.parse(fs.readFileSync(file, "utf8")) as object;
  fs.writeFileSync(file, JSON.stringify({ ...meta, dataset: "openwebtext" }));
}
