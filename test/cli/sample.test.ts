import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { littleLearnt, printSamples, readPrompt } from "../../lib/cli/sample.js";
import type { Io } from "../../lib/cli/shared/terminal.js";
import type { SampledToken } from "../../lib/sample/sample.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();

function written(): { io: Io; text: () => string } {
  let text = "";
  const stdout = { write: (part: string) => (text += part) };
  return { io: { stdout, stderr: stdout } as unknown as Io, text: () => text };
}

async function* tokensOf(...tokens: SampledToken[]): AsyncGenerator<SampledToken> {
  yield* tokens;
}

describe("printSamples()", () => {
  test("prints each sample with its prompt and a line of dashes after it, as nanoGPT does", async () => {
    const { io, text } = written();
    const tokens = tokensOf(
      { sample: 0, token: 1, text: "a" },
      { sample: 1, token: 2, text: "b" },
      { sample: 0, token: 1, text: "c" },
      { sample: 1, token: 2, text: "d" },
    );
    expect(await printSamples(tokens, { numSamples: 2 }, "> ", io)).toEqual(["> ac", "> bd"]);
    expect(text()).toBe("> ac\n---------------\n> bd\n---------------\n");
  });

  test("prints nothing, not even the prompt, when the model does not know it", async () => {
    const { io, text } = written();
    // biome-ignore lint/correctness/useYield: it throws first
    const failing = (async function* (): AsyncGenerator<SampledToken> {
      throw new RangeError("no é");
    })();
    await expect(printSamples(failing, { numSamples: 1 }, "héllo", io)).rejects.toThrow("no é");
    expect(text()).toBe("");
  });
});

test("readPrompt() takes text as it is and reads files; a file that is not there is named", () => {
  const file = path.join(folder, "prompt.txt");
  fs.writeFileSync(file, "to be\n");
  expect(readPrompt("FILE")).toBe("FILE");
  expect(readPrompt(`FILE:${file}`)).toBe("to be\n");
  expect(() => readPrompt("FILE:nowhere.txt")).toThrow("Cannot read the text nowhere.txt: it is missing.");
});

test("littleLearnt() warns if the loss is close to ln V, that of guessing", () => {
  expect(littleLearnt(3.9, 65)).toEqual([
    "The model has learned almost nothing (its validation loss is 3.90, that of guessing 4.17): its samples are noise. Train it longer.",
  ]);
  expect(littleLearnt(3.2, 65)).toEqual([]);
  expect(littleLearnt(null, 65)).toEqual([]);
});
