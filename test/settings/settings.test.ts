import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { countParameters } from "../../lib/model/sizing.js";
import { loadSampleSettings, loadSettings, readOverrides } from "../../lib/settings/config-files.js";
import { helpText, snakeCase } from "../../lib/settings/flags.js";
import {
  checkModelSettings,
  defaultSampleSettings,
  defaultSettings,
  parseSampleSettings,
  parseSettings,
  readSettings,
  type SettingsKind,
  settingRows,
} from "../../lib/settings/settings.js";

const folder = mkdtempSync(join(tmpdir(), "folio-config-"));
afterAll(() => rmSync(folder, { recursive: true }));
function file(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

/** The error that `fn` throws, as "TypeError: message". */
async function failure(fn: () => unknown): Promise<string> {
  try {
    await fn();
  } catch (error) {
    return String(error);
  }
  throw new Error("nothing was thrown");
}

describe("the tables", () => {
  test("defaults are nanoGPT's (shared/reference.md)", () => {
    expect(defaultSettings).toMatchObject({
      outDir: "out",
      evalInterval: 2000,
      logInterval: 1,
      evalIters: 200,
      evalOnly: false,
      alwaysSaveCheckpoint: true,
      initFrom: "scratch",
      wandbLog: false,
      dataset: "openwebtext",
      gradientAccumulationSteps: 40,
      batchSize: 12,
      blockSize: 1024,
      nLayer: 12,
      nHead: 12,
      nEmbd: 768,
      dropout: 0,
      bias: false,
      learningRate: 6e-4,
      maxIters: 600_000,
      weightDecay: 0.1,
      beta1: 0.9,
      beta2: 0.95,
      gradClip: 1,
      decayLr: true,
      warmupIters: 2000,
      lrDecayIters: 600_000,
      minLr: 6e-5,
      compile: true,
      seed: 1337,
    });
    expect(defaultSampleSettings).toMatchObject({
      outDir: "out",
      start: "\n",
      numSamples: 10,
      maxNewTokens: 500,
      temperature: 0.8,
      topK: 200,
      seed: 1337,
    });
    expect(Object.isFrozen(defaultSettings) && Object.isFrozen(defaultSampleSettings)).toBe(true);
  });

  test("each key has the same description in the interface and in the table, so that editors and --help agree", () => {
    const documented = (file: string, name: string) => {
      const source = readFileSync(new URL(`../../lib/settings/${file}.ts`, import.meta.url), "utf8");
      const body = new RegExp(`interface ${name}\\b[^{]*{(.*?)\\n}`, "s").exec(source)![1]!;
      return Object.fromEntries(
        [...body.matchAll(/\/\*\* (.*) \*\/\n\s+(\w+):/g)].map((match) => [match[2], match[1]]),
      );
    };
    const docs = (kind: SettingsKind) =>
      Object.fromEntries(Object.entries(settingRows(kind)).map(([key, row]) => [key, row.doc]));
    // The settings of training have more documentation; docs.test.ts compares it.
    expect(documented("sample", "SampleSettings")).toEqual(docs("sample"));
    expect(documented("check", "CheckGpuSettings")).toEqual(docs("check gpu"));
    expect(documented("check", "CheckGpt2Settings")).toEqual(docs("check gpt2"));
    expect(documented("check", "CheckMacSettings")).toEqual(docs("check mac"));
  });

  test("each default passes its check, and every row describes valid values", () => {
    for (const kind of ["train", "sample", "check gpu", "check gpt2", "check mac"] as const) {
      for (const [key, row] of Object.entries(settingRows(kind))) {
        expect(row.accepts(row.default), key).toBe(true);
        expect(row.wanted && row.doc && row.group, key).toBeTruthy();
      }
    }
    expect(parseSettings()).toEqual(defaultSettings);
    expect(parseSampleSettings()).toEqual(defaultSampleSettings);
  });

  test.each(["train", "sample", "check gpu", "check gpt2", "check mac"] as const)(
    "helpText(%s) lists every key with default, unit and doc",
    (kind) => {
      const help = helpText(kind);
      for (const [key, row] of Object.entries(settingRows(kind))) {
        const flag = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
        const value = typeof row.default === "string" ? JSON.stringify(row.default) : String(row.default);
        const line = help.split("\n").find((line) => line.trim().startsWith(`--${flag}=`));
        expect(line, key).toContain(`--${flag}=${value}`);
        expect(line, key).toContain(row.unit);
        // Documentation names other settings as flags spell them.
        const doc = row.doc.replace(/\b(?!nanoGPT)[a-z]+[A-Z]\w*/g, (word) => snakeCase(word));
        expect(help).toContain(doc);
        if (row.type === "choice") expect(help).toContain(row.wanted.replaceAll(", ", "|"));
      }
      expect(help.split("\n").every((line) => line.length <= 120)).toBe(true);
    },
  );
});

describe("parseSettings()", () => {
  test("accepts camelCase, snake_case and kebab-case, fills in defaults and freezes", () => {
    const settings = readSettings({ n_layer: 2, "n-head": 2, nEmbd: 64, gradient_accumulation_steps: 1 });
    expect(settings).toMatchObject({ nLayer: 2, nHead: 2, nEmbd: 64, gradientAccumulationSteps: 1, blockSize: 1024 });
    expect(Object.isFrozen(settings)).toBe(true);
    expect(parseSettings({ dropout: 0.1 }, settings)).toMatchObject({ nLayer: 2, dropout: 0.1 });
  });

  test.each<[Record<string, unknown>, string]>([
    [{ nLayr: 2 }, "RangeError: Cannot read the settings: there is no setting nLayr; did you mean nLayer?"],
    [{ n_heads: 2 }, "RangeError: Cannot read the settings: there is no setting n_heads; did you mean nHead?"],
    [
      { bathc_size: 2 },
      "RangeError: Cannot read the settings: there is no setting bathc_size; did you mean batchSize?",
    ],
    [
      { somethingElseAltogether: 2 },
      "RangeError: Cannot read the settings: there is no setting somethingElseAltogether; `folio train --help` lists the settings.",
    ],
    [{ constructor: 1 }, "RangeError: Cannot read the settings: there is no setting constructor"],
    [{ topK: 5 }, "RangeError: Cannot read the settings: topK is a setting of `folio sample`, not of `folio train`."],
    [
      { nLayer: "4" },
      'TypeError: Cannot read the settings: nLayer is "4", text; wanted a whole number of at least 1 (blocks).',
    ],
    [
      { nLayer: 1.5 },
      "RangeError: Cannot read the settings: nLayer is 1.5; wanted a whole number of at least 1 (blocks).",
    ],
    [{ nLayer: null }, "TypeError: Cannot read the settings: nLayer is null, no value; wanted a whole number"],
    [
      { maxIters: -1 },
      "RangeError: Cannot read the settings: maxIters is -1; wanted a whole number of at least 0 (steps).",
    ],
    [
      { learningRate: Number.NaN },
      "RangeError: Cannot read the settings: learningRate is NaN; wanted a number of at least 0.",
    ],
    [{ learningRate: Number.POSITIVE_INFINITY }, "RangeError: Cannot read the settings: learningRate is Infinity"],
    [
      { dropout: 1 },
      "RangeError: Cannot read the settings: dropout is 1; wanted a number of at least 0 and below 1 (fraction).",
    ],
    [{ bias: 1 }, "TypeError: Cannot read the settings: bias is 1, a number; wanted true or false."],
    [
      { seed: 2 ** 32 },
      "RangeError: Cannot read the settings: seed is 4294967296; wanted a whole number from 0 to 4294967295.",
    ],
    [
      { device: "cuda:1" },
      "wanted one of auto, cpu, cuda, webgpu, mps. To choose one GPU of several, set CUDA_VISIBLE_DEVICES=1",
    ],
    [{ backend: "nccl" }, "there is no setting backend, which in nanoGPT joins several GPUs; leave it out."],
    [{ dtype: 16 }, "TypeError: Cannot read the settings: dtype is 16, a number; wanted one of auto, float32"],
    [
      { dataset: "../secret" },
      'RangeError: Cannot read the settings: dataset is "../secret"; wanted a name of letters',
    ],
    [{ outDir: " " }, 'RangeError: Cannot read the settings: outDir is " "; wanted the path of a folder.'],
    [
      { initFrom: " " },
      'RangeError: Cannot read the settings: initFrom is " "; wanted scratch, resume, gpt2, gpt2-med',
    ],
    [{ saveInterval: -1 }, "RangeError: Cannot read the settings: saveInterval is -1; wanted a whole number of at le"],
    [
      { nEmbd: 130, nHead: 4 },
      "RangeError: Cannot build the model: nEmbd 130 is not divisible by nHead 4; use nEmbd 128 or 132, or nHead 2 or 5.",
    ],
    // Quickly, for any width.
    [
      { nEmbd: 999_983, nHead: 4 }, // a prime
      "nEmbd 999983 is not divisible by nHead 4; use nEmbd 999980 or 999984, or nHead 1 or 999983",
    ],
    [
      { nEmbd: 4, nHead: 8 },
      "RangeError: Cannot build the model: nEmbd 4 is not divisible by nHead 8; use nEmbd 8, or nHead 4.",
    ],
    [
      { learningRate: 1e-5 },
      "RangeError: Cannot plan the learning rate: minLr 0.00006 is above learningRate 0.00001; use minLr 0.000001, or decayLr false",
    ],
    [
      { warmupIters: 100, lrDecayIters: 100 },
      "RangeError: Cannot plan the learning rate: warmupIters 100 leaves no steps to decay in before lrDecayIters 100; use a warmupIters below 100.",
    ],
  ])("fails on %j", async (overrides, message) => {
    expect(await failure(() => readSettings(overrides))).toContain(message);
  });

  test.each([
    undefined,
    { warmupIters: 100, lrDecayIters: 10, maxIters: 10 },
    { learningRate: 3e-5, decayLr: false },
    {
      schedule: "constant",
      learningRate: 1e-5,
    },
  ])("accepts %j, which is unusual but possible", (overrides) => {
    expect(() => readSettings(overrides)).not.toThrow();
  });

  test.each([null, 3, "nLayer", [1]])("fails on %j, which is not an object", async (overrides) => {
    expect(await failure(() => readSettings(overrides))).toMatch(
      /^TypeError: Cannot read the settings: .* is not an object/,
    );
  });

  test("suggests nearby values of nHead that divide the width", async () => {
    expect(await failure(() => checkModelSettings({ nEmbd: 97, nHead: 12 }))).toContain(
      "use nEmbd 96 or 108, or nHead 1 or 97.",
    );
  });
});

describe("parseSampleSettings()", () => {
  test("None switches topK off", () => expect(parseSampleSettings({ top_k: null }).topK).toBe(0));
  test("accepts GPT-2 by name", () => expect(parseSampleSettings({ initFrom: "gpt2" }).initFrom).toBe("gpt2"));
  test.each<[Record<string, unknown>, string]>([
    [{ temperature: 0 }, "RangeError: Cannot read the settings: temperature is 0; wanted a number above 0"],
    [{ nLayer: 3 }, "nLayer is a setting of `folio train`, not of `folio sample`."],
    [{ initFrom: "scratch" }, "Cannot sample: initFrom is scratch"],
    [{ num_sample: 1 }, "there is no setting num_sample; did you mean numSamples?"],
  ])("fails on %j", async (overrides, message) => {
    expect(await failure(() => parseSampleSettings(overrides))).toContain(message);
  });
});

describe("loadSettings()", () => {
  test("reads nanoGPT's CPU demo, flags as in its README", async () => {
    const flags =
      "--device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0";
    const settings = await loadSettings(["configs/train_shakespeare_char.ts", ...flags.split(" ")]);
    // without the flag that makes it slow here
    expect(settings).toEqual({ ...(await loadSettings(["cpu_demo"])), compile: false });
    expect((await loadSettings(["cpu_demo"])).compile).toBe(true);
    expect(settings).toMatchObject({ nLayer: 4, nEmbd: 128, compile: false, learningRate: 1e-3, device: "cpu" });
  });

  test.each<[string[], Record<string, unknown>]>([
    [["--n-layer", "4"], { nLayer: 4 }],
    [["--nLayer=4"], { nLayer: 4 }],
    [["--eval-only"], { evalOnly: true }],
    [["--eval_only", "False", "--n_layer=2"], { evalOnly: false, nLayer: 2 }],
    [["--eval_only", "cpu_demo"], { evalOnly: true, nLayer: 4 }],
    [["--no-compile"], { compile: false }],
    [["--compile=true"], { compile: true }],
    [["--learning_rate=1e-3", "--max_iters=1_000"], { learningRate: 1e-3, maxIters: 1000 }],
    [["--min_lr=.00001"], { minLr: 1e-5 }],
    [["--max_iters=2e3"], { maxIters: 2000 }],
    [["--dataset='tiny'"], { dataset: "tiny" }],
    [["--device=cuda:0"], { device: "cuda" }],
    [["--backend", "nccl", "--n_layer=2"], { nLayer: 2 }],
    [["--dataset=True"], { dataset: "True" }],
    [["--wandb_run_name", "a b"], { wandbRunName: "a b" }],
    [["--nLayer=1", "--n_layer=3"], { nLayer: 3 }],
    [["--batch_size=2", "train_shakespeare_char", "--n_layer=3"], { batchSize: 2, nLayer: 3, nEmbd: 384 }],
    [["train_shakespeare_char", "configs/quickstart.ts"], { dropout: 0, nLayer: 4, wandbProject: "shakespeare-char" }],
    [["config/train_shakespeare_char.py"], { nLayer: 6 }],
    [["./config/train_shakespeare_char.py"], { nLayer: 6 }],
    [["train_gpt2"], { nLayer: 12, evalInterval: 1000 }],
  ])("reads %j", async (args, wanted) => {
    expect(await loadSettings(args)).toMatchObject(wanted);
  });

  test("reads TypeScript, JavaScript and JSON, in order", async () => {
    const ts = file(
      "a.ts",
      `import type { Settings } from "folio";
       enum Width { Small = 32 }
       export default { n_layer: 3, nEmbd: Width.Small, nHead: 2, seed: 1 } satisfies Partial<Settings>;`,
    );
    const js = file("b.mjs", "export default { 'n-layer': 5 };");
    const cjs = file("c.cjs", "module.exports = { seed: 2 };");
    const json = file("d.json", '\uFEFF{ "batch_size": 7 }');
    const settings = await loadSettings([ts, js, cjs, json, "--block_size=8"]);
    expect(settings).toMatchObject({ nLayer: 5, nEmbd: 32, nHead: 2, seed: 2, batchSize: 7, blockSize: 8 });
    expect((await readOverrides("train", [ts.slice(0, -3)])).files).toEqual([ts]);
  });

  test("reads nanoGPT's config files, and says if Folio's file of the same name is read instead", async () => {
    const own = file("train_shakespeare_char.py", "# mine\nn_layer = 2 * 2\ndropout = 0.0\nbackend = 'gloo'");
    const { files, values, notes } = await readOverrides("train", [own, "--n_head=2"]);
    expect({ files, values }).toEqual({ files: [own], values: { nLayer: 4, dropout: 0, nHead: 2 } });
    expect(notes).toEqual([expect.stringMatching(/^backend is nanoGPT's and has no effect/)]);
    const mapped = await readOverrides("train", ["config/train_gpt2.py", "--backend=nccl", "--backend", "gloo"]);
    expect(mapped.notes[0]).toMatch(/^backend is/);
    expect(mapped.notes[1]).toBe("config/train_gpt2.py does not exist here: Folio's own configs/train_gpt2.ts is read");
    expect(mapped.notes).toHaveLength(2);
    expect((await readOverrides("train", ["train_gpt2"])).notes).toEqual([]);
  });

  test("reads a file again after it was edited", async () => {
    const path = file("edited.ts", "export default { nLayer: 1 };");
    expect((await loadSettings([path])).nLayer).toBe(1);
    writeFileSync(path, "export default { nLayer: 2 };");
    expect((await loadSettings([path])).nLayer).toBe(2);
  });

  test("one file may serve training and sampling", async () => {
    const both = file("both.json", '{ "nLayer": 2, "outDir": "both", "topK": 3, "start": "x" }');
    expect(await loadSettings([both])).toMatchObject({ nLayer: 2, outDir: "both" });
    expect(await loadSampleSettings([both, "--num_samples=1"])).toMatchObject({ topK: 3, start: "x", outDir: "both" });
  });

  test.each<[string[], RegExp]>([
    [["--n_layr=4"], /^RangeError: Cannot read --n_layr: there is no setting n_layr; did you mean nLayer\?$/],
    [["--n_layer=four"], /^TypeError: Cannot read --n_layer: nLayer is "four", text; wanted a whole number/],
    [["--n_layer=None"], /^TypeError: Cannot read --n_layer: nLayer is null, no value; wanted/],
    [["--n_layer=True"], /^TypeError: Cannot read --n_layer: nLayer is true, a boolean/],
    [["--n_layer="], /^TypeError: Cannot read --n_layer: nLayer is "", text/],
    [["--n_layer"], /^TypeError: Cannot read --n_layer: it has no value; wanted a whole number of at least 1/],
    [["--n_layer", "--n_head=2"], /^TypeError: Cannot read --n_layer: it has no value/],
    [["--n_layer", "-1"], /^RangeError: Cannot read --n_layer: nLayer is -1/],
    [["--compile=1"], /^TypeError: Cannot read --compile: compile is 1, a number; wanted true or false\.$/],
    [["--no-device"], /^RangeError: Cannot read --no-device: there is no setting no-device; did you mean device\?$/],
    [["-n_layer=4"], /^TypeError: Cannot read -n_layer=4: flags begin with two dashes/],
    [
      ["--device=cuda:1"],
      /^RangeError: Cannot read --device: device is "cuda:1"; .* CUDA_VISIBLE_DEVICES=1 in the environment /,
    ],
    [["--topK=4"], /topK is a setting of `folio sample`/],
    [
      ["train_shakespear_char"],
      /^Error: Cannot read the config file train_shakespear_char: .* did you mean train_shakespeare_char\?/,
    ],
    [
      ["config/train_other.py"],
      /^Error: Cannot read the config file config\/train_other\.py: there is no such file; did you mean train_/,
    ],
    [["/nowhere/train_gpt2.ts"], /there is no such file/],
    [["package.json"], /^RangeError: Cannot read package\.json: there is no setting name/],
    [["LICENSE.md"], /there is no such file/],
    [["lib"], /it is a folder; a run is named --out_dir=lib/],
  ])("fails on %j with one line", async (args, message) => {
    const error = await failure(() => loadSettings(args));
    expect(error).toMatch(message);
    expect(error).not.toContain("\n");
  });

  test.each<[string, string, RegExp]>([
    ["bad.json", "{ nLayer: 4 }", /^Error: Cannot read .*bad\.json: /],
    ["list.json", "[1]", /^TypeError: Cannot read .*list\.json: wanted one object/],
    [
      "named.ts",
      "export const nLayer = 4;",
      /^TypeError: Cannot read .*named\.ts: wanted an object as its default export/,
    ],
    ["throws.ts", "throw new Error('no luck')", /^Error: Cannot read .*throws\.ts: no luck$/],
    ["syntax.ts", "export default { nLayer 4 }", /^Error: Cannot read .*syntax\.ts: /],
    [
      "typo.ts",
      "export default { nLayr: 4 }",
      /^RangeError: Cannot read .*typo\.ts: there is no setting nLayr; did you mean nLayer\?$/,
    ],
    ["type.ts", "export default { nLayer: '4' }", /^TypeError: Cannot read .*type\.ts: nLayer is "4", text; wanted/],
    [
      "mine.py",
      "n_layer = four()",
      /^Error: Cannot read .*mine\.py: line 1 is "n_layer = four\(\)"; Python is read as data/,
    ],
    [
      "typo.py",
      "n_layr = 4",
      /^RangeError: Cannot read .*typo\.py: there is no setting n_layr; did you mean nLayer\?$/,
    ],
    ["notes.txt", "n_layer = 4", /^TypeError: Cannot read .*notes\.txt: a config file ends in \.ts/],
  ])("fails on %s with one line that names the file", async (name, content, message) => {
    const path = file(name, content);
    const error = await failure(() => loadSettings([path]));
    expect(error).toMatch(message);
    expect(error).not.toContain("\n");
  });

  test("a folder of a preset's name is not mistaken for it", async () => {
    mkdirSync(join(folder, "cpu_demo"));
    expect(await failure(() => loadSettings([join(folder, "cpu_demo")]))).toContain(
      "it is a folder; a run is named --out_dir=",
    );
  });
});

describe("configs/", () => {
  const preset = async (name: string) => (await readOverrides("train", [name])).values;

  test("train_gpt2 is nanoGPT's: 491,520 tokens per step", async () => {
    const settings = await loadSettings(["train_gpt2"]);
    expect(settings.batchSize * settings.blockSize * settings.gradientAccumulationSteps).toBe(491_520);
    expect(settings).toMatchObject({ maxIters: 600_000, lrDecayIters: 600_000, evalInterval: 1000, weightDecay: 0.1 });
  });

  test("train_shakespeare_char is nanoGPT's (shared/reference.md)", async () => {
    expect(await preset("train_shakespeare_char")).toMatchObject({
      evalInterval: 250,
      logInterval: 10,
      alwaysSaveCheckpoint: false,
      gradientAccumulationSteps: 1,
      batchSize: 64,
      blockSize: 256,
      nLayer: 6,
      nHead: 6,
      nEmbd: 384,
      dropout: 0.2,
      learningRate: 1e-3,
      minLr: 1e-4,
      maxIters: 5000,
      lrDecayIters: 5000,
      beta2: 0.99,
      warmupIters: 100,
    });
  });

  test.each(["", "-medium", "-large", "-xl"])("eval_gpt2%s is nanoGPT's", async (size) => {
    expect(await preset(`eval_gpt2${size.replace("-", "_")}`)).toEqual({
      batchSize: 8,
      evalIters: 500,
      evalOnly: true,
      wandbLog: false,
      initFrom: `gpt2${size}`,
    });
  });

  test("finetune_shakespeare is nanoGPT's", async () => {
    expect(await preset("finetune_shakespeare")).toMatchObject({
      initFrom: "gpt2-xl",
      dataset: "shakespeare",
      evalInterval: 5,
      evalIters: 40,
      batchSize: 1,
      gradientAccumulationSteps: 32,
      maxIters: 20,
      learningRate: 3e-5,
      decayLr: false,
    });
  });

  test("finetune_gpt2_small and apple_demo have the sizes in their comments", async () => {
    const wanted = { initFrom: "gpt2", dataset: "shakespeare", learningRate: 1e-4, decayLr: false, maxIters: 1000 };
    expect(await loadSettings(["finetune_gpt2_small"])).toMatchObject(wanted);
    const apple = await loadSettings(["apple_demo"]);
    expect(apple).toMatchObject({ nLayer: 5, nHead: 4, nEmbd: 256, blockSize: 128, batchSize: 32 });
    expect(countParameters({ ...apple, vocabSize: 65 })).toBe(3_984_384);
  });

  test("quickstart has the CPU demo's shape and the corpus that needs no download", async () => {
    const shape = { nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64, batchSize: 12, dropout: 0 };
    expect(await loadSettings(["quickstart"])).toMatchObject({ ...shape, dataset: "typescript", compile: true });
    expect(await loadSettings(["cpu_demo"])).toMatchObject(shape);
  });
});
