import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { readNanoGptCheckpoint } from "../../lib/weights/nanogpt-checkpoint.js";
import { temporaryFolder } from "../tiny-run.js";
import { folio } from "./in-process.js";

const checkpoint = fileURLToPath(new URL("../golden/gpt2/ckpt.pt", import.meta.url));
const folder = temporaryFolder();

describe("folio export", () => {
  test("turns nanoGPT's checkpoint into a Hugging Face folder", async () => {
    const to = path.join(folder, "exported");
    expect(await folio("export", `--init_from=${checkpoint}`, "--to", to)).toEqual({
      code: 0,
      out: `${to}: 1,712 parameters in float32\nIts tokenizer is unknown: add your tokenizer's files.\n`,
      err: "",
    });
    const { params } = readGpt2Folder(to);
    expect(params).toMatchObject(readNanoGptCheckpoint(checkpoint).params);
    expect(fs.readdirSync(to).sort()).toEqual([
      "config.json",
      "folio.json",
      "generation_config.json",
      "model.safetensors",
    ]);
  });

  test("stores 16-bit weights on request", async () => {
    const sizes = ["float32", "bfloat16"].map((dtype) => path.join(folder, dtype));
    for (const to of sizes)
      await folio("export", `--init_from=${checkpoint}`, `--to=${to}`, `--dtype=${path.basename(to)}`);
    const [whole, half] = sizes.map((to) => fs.statSync(path.join(to, "model.safetensors")).size);
    expect(half! / whole!).toBeLessThan(0.75);
  });

  const wrong: [string[], string][] = [
    [[], "name a run, --out_dir=RUN, or another model"],
    [["--out_dir=a", "--init_from=gpt2", "--to=b"], "name a run, --out_dir=RUN, or another model"],
    [["--out_dir=a"], "no folder is named; write --to=FOLDER"],
    [["--out_dir=a", "--to=b", "--dtype=int8"], "dtype is int8; wanted float32, float16, bfloat16"],
    [["--out=a"], "there is no flag --out; did you mean --"],
    [["out"], "out is not a flag; name the run with --out_dir=out"],
    [["--to"], "--to has no value; write --to=VALUE"],
    [[`--out_dir=${folder}`, `--to=${folder}/x`], "the folder has no checkpoint, no config.json and no ckpt.pt"],
    [[`--init_from=${checkpoint}`, `--to=${checkpoint}/x`], `Cannot export to ${checkpoint}/x: ENOTDIR`],
    [[`--init_from=${checkpoint}`, `--to=${folder}`], "it exists already; remove it, or name another folder"],
  ];
  for (const [args, message] of wrong) {
    test(`refuses ${args.join(" ").replaceAll(folder, "…") || "no arguments"}`, async () => {
      const { code, err } = await folio("export", ...args);
      expect(code).toBe(1);
      expect(err).toContain(message);
    });
  }
});
