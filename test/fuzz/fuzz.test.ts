/** Every reader on damaged files: a short run of what test/proofs/fuzz.ts does at length. */
import { expect, test } from "vitest";
import { temporaryFolder } from "../tiny-run.js";
import { campaign, faultOfError } from "./campaign.js";

// Of the day: a seed that failed is in the message, and gives the same inputs again.
const seed = 1;

test("damaged files get one message of Folio's each, in little time and memory", { timeout: 180_000 }, async () => {
  const { inputs, refused, findings } = await campaign(temporaryFolder(), { seed, inputs: 600 });
  expect(findings).toEqual([]);
  // Were they not damaged, it would prove nothing.
  expect(refused).toBeGreaterThan(inputs / 3);
});

test("a message is Folio's or it is a finding", () => {
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
