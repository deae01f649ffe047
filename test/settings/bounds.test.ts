/** Bad settings: too large, with names of JavaScript properties, and from modules that fail in various ways. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { loadSettings, readOverrides } from "../../lib/settings/config-files.js";
import { parsePythonConfig } from "../../lib/settings/python-config.js";
import {
  defaultSettings,
  parseBenchSettings,
  parseCheckSettings,
  parseEvalSettings,
  parseSampleSettings,
  parseSettings,
  parseSizesSettings,
  type SettingsKind,
  settingRows,
} from "../../lib/settings/settings.js";
import { checkMemory } from "../../lib/train/failures.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const written = (name: string, text: string): string => {
  fs.writeFileSync(path.join(folder, name), text);
  return path.join(folder, name);
};

describe("every integer setting has a bound", () => {
  const parsers = {
    train: parseSettings,
    sample: parseSampleSettings,
    eval: parseEvalSettings,
    bench: parseBenchSettings,
    sizes: parseSizesSettings,
    "check gpu": (given: object) => parseCheckSettings("check gpu", given),
    "check gpt2": (given: object) => parseCheckSettings("check gpt2", given),
    "check mac": (given: object) => parseCheckSettings("check mac", given),
  } as const satisfies Record<SettingsKind, unknown>;

  test.each(Object.keys(parsers) as SettingsKind[])("of folio %s", (kind) => {
    for (const [key, row] of Object.entries(settingRows(kind))) {
      if (row.type !== "integer") continue;
      expect(() => parsers[kind]({ [key]: 2 ** 40 })).toThrow(new RegExp(`: ${key} is 1099511627776; wanted `));
    }
  });

  test("that the message names", () => {
    expect(() => parseSettings({ nLayer: 2 ** 31 })).toThrow(
      "Cannot read the settings: nLayer is 2147483648; wanted at most 10,000 (blocks).",
    );
    expect(() => parseSampleSettings({ numSamples: 2 ** 31 })).toThrow("wanted at most 10,000 (samples)");
  });

  test("a batch that is too large for any memory is refused before it is made", () => {
    const settings = { ...defaultSettings, nLayer: 1, nEmbd: 64, vocabSize: 64, batchSize: 1e6, blockSize: 1024 };
    expect(() => checkMemory(settings, 16e9)).toThrow(
      /^Cannot train: a batch of 1,000,000 × 1,024 tokens needs more than 27\d\.\d GB, but there are only 16\.0 GB; lower batchSize/,
    );
    expect(() => checkMemory({ ...settings, batchSize: 12 }, 16e9)).not.toThrow();
  });
});

describe("names of Object.prototype are not special", () => {
  const names = ["toString", "constructor", "__proto__", "hasOwnProperty", "valueOf"];

  test.each(names)("--%s", async (name) => {
    await expect(readOverrides("train", [`--${name}=3`])).rejects.toThrow(/^Cannot read --.*: there is no setting /);
    await expect(readOverrides("train", [`--no-${name}`])).rejects.toThrow(/there is no setting /);
  });

  test.each(names)("%s in config files", async (name) => {
    const json = written("names.json", `{"nLayer": 2, "${name}": {"nLayer": 3}}`);
    await expect(loadSettings([json])).rejects.toThrow(/there is no setting /);
    const python = written("names.py", `${name} = 3\nn_layer = ${name}\n`);
    expect(parsePythonConfig(fs.readFileSync(python, "utf8"))).toEqual(
      Object.fromEntries([
        [name, 3],
        ["n_layer", 3],
      ]),
    );
    await expect(loadSettings([python])).rejects.toThrow(/there is no setting /);
    await expect(loadSettings([written("unknown.py", `n_layer = ${name}\n`)])).rejects.toThrow(/line 1 is /);
  });
});

test("a dataset may have such a name", async () => {
  let told = "";
  const output = { write: (text: string) => (told += text) };
  expect(await main(["sizes", "--dataset=constructor"], { stdout: output, stderr: output })).toBe(1);
  expect(told).toContain("the vocabulary of constructor is unknown");
});

test("text in Python config files has Python's escapes", () => {
  // Each value as Python 3 prints it by ascii().
  const lines = [
    ["a", String.raw`'\x41\u00e9\U0001f600'`, "Aé😀"],
    ["b", String.raw`"\101\0\12"`, "A\0\n"],
    ["c", String.raw`'\a\b\f\v\t\r\n'`, "\x07\b\f\v\t\r\n"],
    ["d", String.raw`'\'\"\\'`, `'"\\`],
    ["e", String.raw`'\d\X41\w'`, "\\d\\X41\\w"],
  ] as const;
  const source = lines.map(([name, literal]) => `${name} = ${literal}`).join("\n");
  expect(parsePythonConfig(source)).toEqual(Object.fromEntries(lines.map(([name, , value]) => [name, value])));
  for (const literal of [String.raw`'\x4'`, String.raw`'\u00e'`, String.raw`'\U00110000'`, String.raw`'\N{BULLET}'`]) {
    expect(() => parsePythonConfig(`a = ${literal}`)).toThrow(/^line 1 is /);
  }
});

describe("config modules that fail get one message", () => {
  test.each([
    ["throws-text", 'throw "no luck";', /: it throws 'no luck'$/],
    ["throws-nothing", "throw undefined;", /: it throws undefined$/],
    ["promise", "export default Promise.resolve({ nLayer: 2 });", /: its default export is a promise; write export/],
    ["broken-promise", 'export default Promise.reject(new Error("late"));', /: (its default export is a promise|late)/],
    ["unawaited", 'Promise.reject(new Error("not awaited"));\nexport default { nLayer: 2 };', /: not awaited$/],
    ["getter", 'export default { get nLayer() { throw new Error("no value"); } };', /: no value$/],
    ["number", "export default 5;", /: wanted an object as its default export/],
  ])("%s", async (name, source, message) => {
    const file = written(`${name}.ts`, source);
    await expect(loadSettings([file])).rejects.toThrow(message);
    await expect(loadSettings([file])).rejects.toThrow(new RegExp(`^Cannot read ${file}: `));
  });

  test("earlier listeners are restored", async () => {
    const listener = () => {};
    process.on("unhandledRejection", listener);
    await loadSettings([written("fine.ts", "export default { nLayer: 2 };")]);
    expect(process.listeners("unhandledRejection")).toContain(listener);
    process.off("unhandledRejection", listener);
  });
});

test.each(["--nproc_per_node=4", "--standalone", "--nnodes=2", "--master_port=1234", "--rdzv-backend=c10d"])(
  "%s is torchrun's, and says so",
  async (flag) => {
    await expect(readOverrides("train", [flag])).rejects.toThrow(
      / is torchrun's, which starts a process for each GPU; here one process trains on several, with devices, or folio launch/,
    );
  },
);
