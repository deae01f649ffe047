/** Only regular files are read, up to a limit, so that a pipe or a device cannot hang Folio or fill the memory. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { openTokenFile } from "../../lib/data/batches.js";
import { fileSha256 } from "../../lib/host/download.js";
import { openRegularFile, readRegularFile, readRegularText, statusOf } from "../../lib/host/regular-file.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import { openTorchFile } from "../../lib/weights/torch-file.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const pipe = path.join(folder, "pipe");
execFileSync("mkfifo", [pipe]);

test("a file is read completely, up to the given size", () => {
  const file = path.join(folder, "file");
  fs.writeFileSync(file, "né\n");
  expect(readRegularText(file)).toBe("né\n");
  expect(readRegularFile(file, 4).length).toBe(4);
  expect(() => readRegularFile(file, 3)).toThrow("it has 4 bytes, more than the limit of 3");
  expect(() => readRegularFile(path.join(folder, "none"))).toThrow(expect.objectContaining({ code: "ENOENT" }));
});

test.each([
  ["a pipe", pipe],
  ["a device", "/dev/zero"],
  ["a folder", folder],
])("%s is no file, and is not waited for", async (what, file) => {
  const found = `it is ${what}, not a file`;
  expect(() => openRegularFile(file)).toThrow(found);
  expect(() => readSafetensors(file)).toThrow(found);
  expect(() => openTorchFile(file)).toThrow(found);
  expect(() => openTokenFile(file, { dtype: "uint16" })).toThrow(found);
  await expect(fileSha256(file)).rejects.toThrow(found);
});

describe("in place of a command's file", () => {
  async function folio(...argv: string[]) {
    let text = "";
    const output = { write: (more: string) => (text += more) };
    return { code: await main(argv, { stdout: output, stderr: output }), text };
  }
  const run = (file: string, target: string) => {
    const at = fs.mkdtempSync(path.join(folder, "run-"));
    for (const name of ["config.json", "log.jsonl"]) fs.writeFileSync(path.join(at, name), "{}");
    fs.mkdirSync(path.join(at, "checkpoint"));
    fs.rmSync(path.join(at, file), { force: true });
    fs.symlinkSync(target, path.join(at, file));
    return at;
  };

  test.each([pipe, "/dev/zero"])("%s is refused with a message", async (target) => {
    const flags = ["--compile=False", "--device=cpu"];
    const link = path.join(folder, `link-${path.basename(target)}.json`);
    fs.symlinkSync(target, link);
    const lines = [
      ["runs", run("config.json", target)],
      ["runs", run("log.jsonl", target)],
      ["sample", `--out_dir=${run("checkpoint/last", target)}`, ...flags],
      ["sample", `--start=FILE:${target}`, ...flags],
      ["export", `--init_from=${target}`, `--to=${path.join(folder, "to")}`],
      ["train", link],
      ["prepare", "mine", `--from=${target}`, `--data_dir=${folder}`],
      ["prepare", "shakespeare_char", `--source=${target}`, `--data_dir=${folder}`],
    ];
    for (const argv of lines) {
      const { code, text } = await folio(...argv);
      // A list of runs reports the error of one run and lists the others.
      expect([argv.join(" "), code]).toEqual([argv.join(" "), argv[0] === "runs" ? 0 : 1]);
      expect(text).toMatch(/a pipe|a device/);
    }
  });
});

test("a path that can lead to no file is told of, and throws nothing", async () => {
  const long = "x".repeat(10_000);
  expect(statusOf(long)).toBeUndefined();
  expect(statusOf(path.join(folder, "none"))).toBeUndefined();
  for (const args of [
    ["train", long],
    ["export", `--init_from=${long}`, "--to=a"],
    ["scaling", "plan", long],
  ]) {
    let err = "";
    const io = { stdout: { write: () => {} }, stderr: { write: (text: string) => (err += text) } };
    expect(await main(args, io)).not.toBe(0);
    expect(err).toMatch(/^folio: (Cannot|There is) /);
    expect(err).not.toContain("ENAMETOOLONG");
  }
});
