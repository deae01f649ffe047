/** All readers on damaged files: a short version of test/proofs/fuzz.ts. */
import { expect, test } from "vitest";
import { temporaryFolder } from "../tiny-run.js";
import { campaign, faultOfError } from "./campaign.js";

// The seed changes daily; the message of a failure names it, so that it can be repeated.
const seed = 1;

test("damaged files get one message of Folio's each, in little time and memory", { timeout: 180_000 }, async () => {
  const { inputs, refused, findings } = await campaign(temporaryFolder(), { seed, inputs: 600 });
  expect(findings).toEqual([]);
  // Make sure that the files are damaged.
  expect(refused).toBeGreaterThan(inputs / 3);
});

test("a message that is not Folio's is a finding", () => {
  for (const message of ["Cannot read out/config.json: it is no JSON.", "Cannot read --n_layer: it has no value"]) {
    expect(faultOfError(new Error(message))).toBeUndefined();
  }
  const undefinedKey = () => (undefined as unknown as { key: string }).key;
  expect(() => undefinedKey()).toThrow(TypeError);
  for (const error of [
    new TypeError("Cannot read properties of undefined (reading 'key')"),
    new SyntaxError("x"),
    "x",
  ]) {
    expect(faultOfError(error)).toBeDefined();
  }
});
