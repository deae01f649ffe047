/** Text is read by the same rules everywhere: prepare, eval --file, FILE: prompts, standard input. */
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readPrompt } from "../../lib/cli/sample.js";
import { openDataset } from "../../lib/data/dataset.js";
import { prepareText, readText } from "../../lib/data/prepare/prepare.js";
import { decodeText, firstBadByte, notUtf8, readTextFile } from "../../lib/data/text.js";
import { typescriptLoader } from "../../lib/host/package.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
let files = 0;
function write(content: string | Uint8Array): string {
  const file = path.join(folder, `text-${files++}.txt`);
  fs.writeFileSync(file, content);
  return file;
}

const plain = `${"first line\nsecond line: café\n".repeat(20)}`;
const spellings: Record<string, string> = {
  "line ends of Windows": plain.replaceAll("\n", "\r\n"),
  "line ends of old": plain.replaceAll("\n", "\r"),
  "a byte-order mark": `\ufeff${plain}`,
  "a mark and line ends of Windows": `\ufeff${plain.replaceAll("\n", "\r\n")}`,
};

describe("the rules for text", () => {
  for (const [name, text] of Object.entries(spellings)) {
    test(`${name}: prepare, eval --file, FILE: and a dataset's text are read alike`, async () => {
      const file = write(text);
      expect(readTextFile(file)).toBe(plain); // eval --file
      expect(readPrompt(`FILE:${file}`)).toBe(plain);
      expect(readText(file)).toBe(plain); // data/*/prepare.ts
      const meta = await prepareText({ dataDir: folder, name: "own", from: file, tokenizer: "char", overwrite: true });
      const { train, val, tokenizer, close } = openDataset(folder, "own");
      const ids = [...train.read(0, train.length), ...val.read(0, val.length)];
      close();
      expect(tokenizer.decode(ids)).toBe(plain);
      expect(meta.splits.train.tokens).toBe(Math.floor(plain.length * 0.9));
    });
  }

  test("standard input is read by the same rules", () => {
    const module = fileURLToPath(new URL("../../lib/data/text.ts", import.meta.url));
    const script = path.join(folder, "stdin.ts");
    fs.writeFileSync(
      script,
      `import { readTextInput } from ${JSON.stringify(module)};\nprocess.stdout.write(readTextInput());\n`,
    );
    const argv = ["--import", typescriptLoader(), script];
    const input = spellings["a mark and line ends of Windows"]!;
    expect(execFileSync(process.execPath, argv, { input, encoding: "utf8" })).toBe(plain);
    const wrong = spawnSync(process.execPath, argv, { input: Buffer.from("caf\xe9", "latin1"), encoding: "utf8" });
    expect(wrong.stderr).toContain(
      "Cannot read the text from standard input: it is not UTF-8: byte 3, counted from 0, is 0xE9",
    );
  });

  test("invalid UTF-8 bytes are refused with their position everywhere", async () => {
    const file = write(Buffer.concat([Buffer.from("é".repeat(700_000)), Buffer.from("caf\xe9 noir", "latin1")]));
    const message = `${file}: it is not UTF-8: byte 1400003, counted from 0, is 0xE9; convert it`;
    expect(() => readTextFile(file)).toThrow(message);
    expect(() => readPrompt(`FILE:${file}`)).toThrow(message);
    expect(() => readText(file)).toThrow(message);
    await expect(prepareText({ dataDir: folder, name: "bad", from: file, tokenizer: "char" })).rejects.toThrow(message);
    expect(fs.existsSync(path.join(folder, "bad"))).toBe(false);
  });

  test("UTF-16 is recognized and named", () => {
    expect(() => readTextFile(write(Buffer.from("\ufeffabc", "utf16le")))).toThrow(
      "it is UTF-16, not UTF-8; convert it",
    );
  });

  test("the position is exact at the end, at the beginning, and within a sequence", () => {
    for (const [bytes, place] of [
      [[0x61, 0xff], 1],
      [[0x80], 0],
      [[0x61, 0xc3, 0x28], 1],
      [[0x61, 0xe2, 0x82], 1],
      [[0xf0, 0x9f, 0x90, 0x8b, 0xc3], 4],
      [[0x61, 0xed, 0xa0, 0x80], 1], // half of a surrogate pair
    ] as const) {
      expect(firstBadByte(Uint8Array.from(bytes)), String(bytes)).toBe(place);
    }
    expect(notUtf8(Uint8Array.of(0x61, 0xff), 100)).toBe("it is not UTF-8: byte 101, counted from 0, is 0xFF");
    expect(decodeText(Buffer.from("a\rb\r\n\nc"))).toBe("a\nb\n\nc");
  });

  test("anything but a regular file is refused without waiting", () => {
    const pipe = path.join(folder, "pipe");
    execFileSync("mkfifo", [pipe]);
    for (const [name, what] of [
      [pipe, "a pipe"],
      ["/dev/zero", "a device"],
      [folder, "a folder"],
    ]) {
      expect(() => readPrompt(`FILE:${name}`)).toThrow(`Cannot read the text ${name}: it is ${what}, not a file.`);
    }
    expect(() => readPrompt("FILE:nowhere.txt")).toThrow("Cannot read the text nowhere.txt: it is missing.");
  });
});
