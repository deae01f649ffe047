/** Identities of old runs must stay the same, otherwise their sweep would start over. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { runIdentity } from "../../lib/runs/identity.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { type PlanOptions, planSweep } from "../../scaling/plan.js";
import novels from "../../scaling/plans/novels.js";
import again from "../../scaling/plans/novels-again.js";
import tuning from "../../scaling/plans/novels-tuning.js";
import { identifyRuns } from "../../scaling/sweep/run-identity.js";
import { temporaryFolder } from "../tiny-run.js";

const dataDir = temporaryFolder();
const results = path.join(import.meta.dirname, "..", "..", "scaling", "results");

/** The dataset of scaling/results, with its real description, but with zeros as ids. */
function writeNovels(): void {
  const splits = {
    train: { tokens: 35_582_157, sha256: "2d74b5c32fd6c365d2beb9263821a7160826eae6ec1cf342ff50e3e8b2c01379" },
    val: { tokens: 3_953_573, sha256: "87599d07583b082cef2cac0addac4039ee12e35f524b30507ebaac33db23e6f6" },
  };
  const folder = path.join(dataDir, "novels");
  fs.mkdirSync(folder);
  for (const [split, { tokens }] of Object.entries(splits)) {
    fs.writeFileSync(path.join(folder, `${split}.bin`), "");
    fs.truncateSync(path.join(folder, `${split}.bin`), 2 * tokens); // a sparse file takes no space
  }
  const characters = Array.from({ length: 126 }, (_, i) => String.fromCharCode(0x100 + i)).join("");
  const meta = {
    ...{ format: "folio-tokens", version: 1, dataset: "novels", dtype: "uint16", vocabSize: 126, splits },
    tokenizer: { kind: "char", characters },
    source: { name: "novels.txt", licence: "unknown", sha256: "0".repeat(64) },
    recipe: {},
  };
  fs.writeFileSync(path.join(folder, "meta.json"), JSON.stringify(meta));
}

writeNovels();
const identities = (plan: PlanOptions) =>
  identifyRuns(planSweep({ ...plan, dataDir }), dataDir).map(({ id }) => id.slice(0, 16));
const inTable = (table: string) =>
  fs
    .readFileSync(path.join(results, table), "utf8")
    .split("\n")
    .slice(1)
    .flatMap((line) => (line === "" ? [] : [line.split(",", 1)[0]!]));

describe("a run's identity", () => {
  test("is what it was when the sweep of scaling/results was trained", () => {
    expect([...identities(novels), ...identities(again)].sort()).toEqual(inTable("novels.csv").sort());
    expect(identities(tuning).sort()).toEqual(inTable("novels-tuning.csv").sort());
  });

  test("is not changed by a new setting at the value for which the code behaves as before", () => {
    const introduced = { positions: "learned" };
    const before = runIdentity(defaultSettings, { data: "x" }, introduced);
    const withPositions = (positions: string) =>
      runIdentity({ ...defaultSettings, positions } as never, { data: "x" }, introduced);
    expect(withPositions("learned")).toBe(before);
    expect(withPositions("rotary")).not.toBe(before);
  });
});
