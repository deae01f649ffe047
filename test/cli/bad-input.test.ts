/**
 * Mistakes of a user, through the real command: one clear line on stderr, a nonzero exit code, and all files as before.
 * The tests of the single files have more details.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { ended, mountDisk, temporaryFolder, writeFox } from "../tiny-run.js";

const command = fileURLToPath(new URL("../../bin/folio.mjs", import.meta.url));
const folder = temporaryFolder();
const trained = path.join(folder, "trained");

const tiny = (outDir: string, ...more: string[]) => [
  "train",
  `--data_dir=${folder}`,
  "--dataset=fox",
  `--out_dir=${path.isAbsolute(outDir) ? outDir : path.join(folder, outDir)}`,
  ..."--n_layer=1 --n_head=1 --n_embd=8 --block_size=8 --batch_size=2 --gradient_accumulation_steps=1".split(" "),
  ..."--eval_iters=1 --eval_interval=2 --max_iters=4 --device=cpu --compile=False".split(" "),
  ...more,
];

function start(...argv: string[]) {
  const { FOLIO_DEBUG, ...env } = process.env;
  const child = spawn(process.execPath, [command, ...argv], { cwd: folder, env });
  const output = { out: "", err: "" };
  child.stdout.on("data", (chunk) => {
    output.out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output.err += chunk;
  });
  return Object.assign(child, { output });
}

async function folio(...argv: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(...argv);
  const { code } = await ended(child);
  // A developer of Folio's operations may not have compiled them yet.
  const err = child.output.err.replace(/^Warning: TensorFlow's operations are used.*\n/m, "");
  return { code, out: child.output.out, err };
}

/** Every file below a folder with its checksum. */
function contents(at: string): Record<string, string> {
  const files = fs.readdirSync(at, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      return [file, createHash("sha256").update(fs.readFileSync(file)).digest("hex")];
    }),
  );
}

/** A dataset whose files were changed. */
function damaged(name: string, damage: (at: string) => void): string {
  writeFox(folder, name);
  damage(path.join(folder, name));
  return `--dataset=${name}`;
}

beforeAll(async () => {
  writeFox(folder);
  expect(await folio(...tiny(trained))).toMatchObject({ code: 0, err: "" });
  for (const copy of ["cut", "nameless", "version"]) fs.cpSync(trained, path.join(folder, copy), { recursive: true });
});

const lastFolder = (run: string) =>
  path.join(folder, run, "checkpoint", fs.readFileSync(path.join(folder, run, "checkpoint", "last"), "utf8").trim());

describe("bad input gives one clear line, a failing exit code and no loss:", () => {
  const cases: Record<string, { argv: () => string[]; message: RegExp; code?: number }> = {
    "an unknown command": {
      argv: () => ["trian"],
      message: /There is no command trian; did you mean `folio train`\?/,
      code: 2,
    },
    "an unknown setting": {
      argv: () => tiny("new", "--n_layr=2"),
      message: /Cannot read --n_layr: there is no setting n_layr; did you mean --n_layer\?/,
    },
    "an unknown setting in a file": {
      argv: () => {
        fs.writeFileSync(path.join(folder, "settings.json"), '{ "learning_rat": 1 }');
        return tiny("new", "settings.json");
      },
      message: /Cannot read settings\.json: there is no setting learning_rat; did you mean learningRate\?/,
    },
    "a setting of the wrong type": {
      argv: () => tiny("new", "--batch_size=many"),
      message: /Cannot read --batch_size: it is "many", text; wanted a whole number of at least 1 \(sequences\)\./,
    },
    "a setting out of range": {
      argv: () => tiny("new", "--dropout=1.5"),
      message: /Cannot read --dropout: it is 1\.5; wanted a number of at least 0 and below 1/,
    },
    "heads that do not divide the width": {
      argv: () => tiny("new", "--n_embd=130", "--n_head=4"),
      message: /--n_embd 130 is not divisible by --n_head 4; use --n_embd 128 or 132, or --n_head 2 or 5\./,
    },
    "a config file that is not there": {
      argv: () => ["train", "configs/none.ts"],
      message: /Cannot read the config file/,
    },
    "a dataset that is not prepared": {
      argv: () => tiny("new", "--dataset=missing"),
      message:
        /Cannot train on missing: .* has no prepared dataset; `folio prepare` makes .*, or choose one that is prepared/,
    },
    "a dataset's name that leaves its folder": { argv: () => tiny("new", "--dataset=../fox"), message: /\.\.\/fox/ },
    "a dataset without a meta.json": {
      argv: () =>
        tiny(
          "new",
          // With both files it would be nanoGPT's.
          damaged("no-meta", (at) => {
            for (const file of ["meta.json", "val.bin"]) fs.rmSync(path.join(at, file));
          }),
        ),
      message: /has train\.bin but no meta\.json/,
    },
    "a missing token file": {
      argv: () =>
        tiny(
          "new",
          damaged("no-val", (at) => fs.rmSync(path.join(at, "val.bin"))),
        ),
      message: /Cannot open the token file .*val\.bin: it is missing; prepare the dataset again\./,
    },
    "an empty token file": {
      argv: () =>
        tiny(
          "new",
          damaged("empty", (at) => fs.truncateSync(path.join(at, "train.bin"), 0)),
        ),
      message: /Cannot open the token file .*train\.bin: it is empty; prepare the dataset again\./,
    },
    "a token file cut within an id": {
      argv: () =>
        tiny(
          "new",
          damaged("odd", (at) => fs.truncateSync(path.join(at, "train.bin"), 1001)),
        ),
      message: /train\.bin: it is truncated: 1001 bytes are not a whole number of uint16 ids/,
    },
    "a token file cut between two ids": {
      argv: () =>
        tiny(
          "new",
          damaged("even", (at) => fs.truncateSync(path.join(at, "train.bin"), 1000)),
        ),
      message: /train\.bin: it is truncated: it has 500 ids, but meta\.json says 1500/,
    },
    "a corpus shorter than a block": {
      argv: () => tiny("new", "--block_size=300"),
      message: /val\.bin: it has 260 ids, but a block of 300 and its targets need 301; lower --block_size/,
    },
    "ids beyond the vocabulary": {
      argv: () =>
        tiny(
          "beyond",
          damaged("beyond-ids", (at) => fs.writeFileSync(path.join(at, "train.bin"), new Uint16Array(1500).fill(999))),
        ),
      message: /id 999 at position \d+ of .*train\.bin is not below the vocabulary size 28; prepare the dataset again/,
    },
    "a vocabulary smaller than the dataset's": {
      argv: () => tiny("new", "--vocab_size=20"),
      message: /--vocab_size is 20, but the dataset has 28 ids; use --vocab_size 0 or at least 28\./,
    },
    "an empty corpus": {
      argv: () => {
        fs.writeFileSync(path.join(folder, "empty.txt"), "");
        return ["prepare", "shakespeare_char", `--source=${path.join(folder, "empty.txt")}`, "--data_dir=new"];
      },
      message: /empty/,
    },
    "a corpus that is not there": {
      argv: () => ["prepare", "shakespeare_char", "--source=nowhere.txt", "--data_dir=new"],
      message: /nowhere\.txt/,
    },
    "a run in the way": { argv: () => tiny(trained, "--seed=3"), message: /it already has a run.*--overwrite/ },
    "a folder in which nothing can be made": {
      argv: () => tiny(path.join(folder, "settings.json", "run")),
      message: /Cannot write the run's folder .*ENOTDIR/,
    },
    "resuming what is not there": {
      argv: () => tiny("none", "--init_from=resume"),
      message: /Cannot find a checkpoint/,
    },
    "a checkpoint of another shape": {
      argv: () => tiny(trained, "--init_from=resume", "--n_embd=16", "--max_iters=9"),
      message: /Cannot resume from .*: the checkpoint has another shape \(--n_embd 8 there, 16 here\)/,
    },
    "a checkpoint cut short": {
      argv: () => {
        fs.truncateSync(path.join(lastFolder("cut"), "model.safetensors"), 3000);
        return ["sample", `--out_dir=${path.join(folder, "cut")}`, "--compile=False"];
      },
      message: /Cannot read .*model\.safetensors: .*wanted a complete safetensors file/,
    },
    "a checkpoint without its state": {
      argv: () => {
        fs.rmSync(path.join(lastFolder("nameless"), "state.json"));
        return tiny("nameless", "--init_from=resume", "--max_iters=9");
      },
      message: /state\.json is missing or damaged/,
    },
    "a checkpoint of another version": {
      argv: () => {
        const file = path.join(lastFolder("version"), "state.json");
        fs.writeFileSync(file, fs.readFileSync(file, "utf8").replace('"version": 1', '"version": 9'));
        return ["sample", `--out_dir=${path.join(folder, "version")}`];
      },
      message: /has format "folio-checkpoint", version 9; this Folio reads folio-checkpoint 1/,
    },
    "a device that is not there": {
      argv: () => tiny("new", "--device=tpu"),
      message: /it is "tpu"; wanted one of auto, cpu, cuda, webgpu, mps/,
    },
    "a learning rate that explodes": {
      argv: () => tiny("wild", "--learning_rate=1e30", "--warmup_iters=0", "--lr_decay_iters=4"),
      message: /Cannot continue: .* at step \d+\. .*Likely causes: a learning rate that is too high/,
    },
  };
  for (const [name, { argv, message, code = 1 }] of Object.entries(cases)) {
    test(name, async () => {
      const args = argv();
      const before = contents(folder);
      const { out, err, code: found } = await folio(...args);
      expect(err).toMatch(message);
      expect(err.trimEnd().split("\n").length, err).toBe(1);
      expect(err).toMatch(/^folio: /);
      expect(found).toBe(code);
      const after = contents(folder);
      expect(after).toMatchObject(before);
      expect(
        Object.keys(after).filter((file) => /\.partial|\.tmp$|safetensors$/.test(file) && !(file in before)),
      ).toEqual([]);
      // A run that failed during training has a log; other failures leave no files.
      if (!/^(iter|step) \d/m.test(out)) expect(after).toEqual(before);
    });
  }

  test("a full disk", async (context) => {
    const outDir = path.join(folder, "small-disk");
    const disk = mountDisk(outDir, "size=128k");
    if ("reason" in disk) return context.skip(disk.reason);
    try {
      const { code, err } = await folio(...tiny(outDir, "--max_iters=4000", "--eval_interval=2", "--log_interval=1"));
      expect(code).toBe(1);
      expect(err).toMatch(/^folio: Cannot (save|write) .*the disk is full.*\n$/);
      expect(openCheckpoint(outDir).step).toBeGreaterThan(0);
      expect(Object.keys(contents(outDir)).filter((file) => file.includes("partial"))).toEqual([]);
    } finally {
      disk.unmount();
    }
  });

  test("kill -9 while saving: the last good checkpoint is there, and the run goes on from it", async () => {
    const flags = tiny("killed", "--max_iters=100000", "--eval_interval=1");
    const child = start(...flags);
    while (!/saving checkpoint/.test(child.output.out) && child.exitCode === null) await setTimeout(5);
    await setTimeout(Math.random() * 300);
    child.kill("SIGKILL");
    expect(await ended(child)).toMatchObject({ signal: "SIGKILL" });
    const { step } = openCheckpoint(path.join(folder, "killed"));
    expect(step).toBeGreaterThan(0);
    const more = ["--init_from=resume", `--max_iters=${step + 2}`];
    const { code, out, err } = await folio(...flags, ...more);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`(step ${step})`);
  });

  test("a run's folder that was moved: the run goes on where it is now", async () => {
    fs.cpSync(trained, path.join(folder, "out"), { recursive: true });
    const before = contents(trained);
    const { code, err } = await folio("train", "--init_from=resume", "--max_iters=5");
    expect([code, err]).toEqual([0, ""]);
    expect(openCheckpoint(path.join(folder, "out")).step).toBe(5);
    expect(contents(trained)).toEqual(before);
  });
});
