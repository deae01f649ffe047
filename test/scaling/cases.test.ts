import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import type { Fit } from "../../scaling/points.js";

/** The expectation for a table: constants (from SciPy: cases/constants.py) or an error. */
interface Expected {
  readonly args?: readonly string[];
  readonly points?: number;
  readonly constants?: Readonly<Record<string, number>>;
  readonly warnings?: readonly string[];
  readonly refused?: string;
  /** With --drop-missing. */
  readonly dropping?: Expected;
  readonly droppingRefused?: boolean;
  /** For `tune`: N, D and the best rate, by NumPy. */
  readonly tune?: readonly (readonly [n: number, d: number, rate: number])[];
  readonly batch?: number;
  readonly otherBatches?: readonly number[];
}

const folder = path.join(import.meta.dirname, "cases");
const expected = JSON.parse(fs.readFileSync(path.join(folder, "expected.json"), "utf8")) as Record<string, Expected>;

async function folio(part: string, file: string, ...flags: string[]) {
  let [out, err] = ["", ""];
  const io = { stdout: { write: (more: string) => (out += more) }, stderr: { write: (more: string) => (err += more) } };
  const code = await main(["scaling", part, path.join(folder, file), ...flags], io);
  return { code, out, err };
}

const fitted = (file: string, ...flags: readonly string[]) =>
  folio("fit", file, "--method=projection", "--bootstrap=0", "--json", "-", ...flags);

async function expectConstants(
  file: string,
  { points, constants, warnings = [], args = [] }: Expected,
  ...flags: string[]
) {
  const { code, out, err } = await fitted(file, ...args, ...flags);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const fit = JSON.parse(out) as Fit;
  expect(fit.points).toBe(points);
  for (const [name, value] of Object.entries(constants!)) {
    // float32 cells have seven digits.
    expect(Math.abs(fit.params[name]! / value - 1), name).toBeLessThan(1e-5);
  }
  expect(fit.warnings.map(({ kind }) => kind)).toEqual(warnings);
}

async function expectRefusal(file: string, message: string, ...flags: string[]) {
  const { code, out, err } = await fitted(file, ...flags);
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toContain(message);
  expect(err.trim().split("\n")).toHaveLength(1);
}

describe("a table from elsewhere", () => {
  test("has an expectation for each file", () => {
    const tables = fs.readdirSync(folder).filter((file) => file !== "expected.json" && file !== "constants.py");
    expect(tables.sort()).toEqual(Object.keys(expected).sort());
  });

  const fits = Object.entries(expected).filter(([, { tune }]) => tune === undefined);
  test.each(fits)("%s gives its constants or its error", async (file, wanted) => {
    if (wanted.refused === undefined) return expectConstants(file, wanted);
    await expectRefusal(file, wanted.refused);
    if (wanted.dropping) await expectConstants(file, wanted.dropping, "--drop-missing");
    if (wanted.droppingRefused) await expectRefusal(file, wanted.refused, "--drop-missing");
  });

  test.each(Object.entries(expected).filter(([, { tune }]) => tune !== undefined))(
    "%s gives the best rates of its better batch",
    async (file, { tune, batch = 64, otherBatches }) => {
      const { code, out } = await folio("tune", file, "--json");
      expect(code).toBe(0);
      const { best } = JSON.parse(out) as { best: Record<string, number>[] };
      expect(best).toMatchObject(
        tune!.map(([parameters, tokens, rate]) => ({
          parameters,
          tokens,
          learningRate: expect.closeTo(rate, 6),
          batch,
        })),
      );
      expect(best.map((each) => each.otherBatches)).toEqual(best.map(() => otherBatches));
    },
  );
});

test("no point is below the envelope, even if it is the only one of its size", async () => {
  const { out } = await folio("fit", "novels_noheld.csv", "--method=envelope", "--bootstrap=0", "--json", "-");
  const { optima } = JSON.parse(out) as Fit;
  // 3.2e12 FLOPs, 82,600 parameters: the lowest loss of the table.
  expect(optima!.at(-1)).toMatchObject({ n: expect.closeTo(82600, 3), loss: expect.closeTo(1.60206, 5) });
});
