/** Tables → points, with values worked out by hand: roles, columns, optional columns, rows that lack a number. */
import { table } from "arquero";
import { describe, expect, test } from "vitest";
import { ownColumns, toPoints, toStudy, toTuningPoints } from "../../scaling/read-points.js";

const columns = { n: "n", d: "d", loss: "loss" } as const;

describe("ownColumns()", () => {
  test("finds the names of Folio's sweeps in any case, and names the loss in any case", () => {
    expect(ownColumns(table({ N: [1], Loss: [2], c: [3] }))).toEqual({ n: "N", c: "c", loss: "Loss" });
    expect(ownColumns(table({ D: [1] }))).toEqual({ d: "D", loss: "loss" });
  });

  test("prefers a name as it is written, and takes none of two that differ in case alone", () => {
    expect(ownColumns(table({ N: [1], n: [2], loss: [3] }))).toEqual({ n: "n", loss: "loss" });
    expect(ownColumns(table({ LOSS: [1], Loss: [2], D: [1] }))).toEqual({ d: "D", loss: "loss" });
  });
});

describe("toPoints()", () => {
  test("takes D from C / 6N where there is no D, keeps D where there is, and leaves what nobody knows as NaN", () => {
    const of = table({ n: [10], c: [1200], d: [7], loss: [3] });
    expect(toPoints(of, { n: "n", c: "c", loss: "loss" }).points).toEqual([{ n: 10, d: 20, c: 1200, loss: 3 }]);
    expect(toPoints(of, { n: "n", c: "c", d: "d", loss: "loss" }).points).toEqual([{ n: 10, d: 7, c: 1200, loss: 3 }]);
    expect(toPoints(of, { n: "n", loss: "loss" }).points).toEqual([{ n: 10, d: Number.NaN, loss: 3 }]);
    expect(toPoints(of, { c: "c", loss: "loss" }).points).toEqual([{ n: Number.NaN, d: Number.NaN, c: 1200, loss: 3 }]);
  });

  test("reads runs, unique tokens, conventions, warm-up and the last learning rate", () => {
    const all = {
      ...{ n: [10], d: [20], loss: [3], run: [7], u: [15], n_convention: ["total"], flops_convention: ["6nd"] },
      ...{ steps: [200], warmup_steps: [50], final_lr_ratio: [0.1] },
    };
    expect(toPoints(table(all), { ...columns, group: "run", unique: "u" }).points).toEqual([
      {
        ...{ n: 10, d: 20, loss: 3, group: "7", unique: 15, nConvention: "total", flopsConvention: "6nd" },
        ...{ warmupShare: 0.25, finalLrRatio: 0.1 },
      },
    ]);
    const none = { ...all, n_convention: [""], flops_convention: [3], steps: [0], final_lr_ratio: ["?"] };
    expect(toPoints(table(none), columns).points).toEqual([{ n: 10, d: 20, loss: 3 }]);
    const { warmup_steps: _, ...withoutWarmup } = all;
    expect(toPoints(table(withoutWarmup), columns).points[0]).not.toHaveProperty("warmupShare");
  });

  const gaps = table({ n: [10, null, 30, "40"], d: [20, 20, "", "2K"], loss: [3, 3, 3, 2.5] });

  test("leaves out rows that lack a number only if it is asked to, and says which", () => {
    expect(toPoints(gaps, columns, { missing: "drop" })).toEqual({
      points: [
        { n: 10, d: 20, loss: 3 },
        { n: 40, d: 2000, loss: 2.5 },
      ],
      rows: [0, 3],
      dropped: [1, 2],
    });
    expect(() => toPoints(gaps, columns, { name: "gaps.csv" })).toThrow(
      'Cannot read points of gaps.csv: row 2 has nothing in column "n", where a number above 0 is wanted; complete or remove this row, or leave out such rows (--drop_missing).',
    );
    expect(() => toPoints(gaps, columns)).toThrow("Cannot read points of the table: row 2 has nothing");
  });

  test.each([
    ["0", 0],
    ["-1", -1],
    ["many", "many"],
  ])("refuses %s even where rows may lack a number", (said, value) => {
    const of = table({ n: [1, value], d: [1, 1], loss: [1, 1] });
    expect(() => toPoints(of, columns, { missing: "drop" })).toThrow(
      `Cannot read points of the table: row 2 has "${said}" in column "n", where a number above 0 is wanted; correct or remove this row (a number may be written 12000000, 1.2e7 or 12M).`,
    );
  });

  test("takes the smallest number above 0", () => {
    const of = table({ n: [5e-324], d: [1], loss: [1] });
    expect(toPoints(of, columns).points).toEqual([{ n: 5e-324, d: 1, loss: 1 }]);
  });

  test("names a column as the table spells it, or the nearest one", () => {
    const of = table({ Params: [10], Tokens: [20], Loss: [3] });
    const points = toPoints(of, { n: " params ", d: "TOKENS", loss: "loss" }).points;
    expect(points).toEqual([{ n: 10, d: 20, loss: 3 }]);
    expect(() => toPoints(of, { n: "parms", loss: "loss" })).toThrow(
      'Cannot read points of the table: it has no column "parms" (for n); did you mean "Params"? The columns are Params, Tokens, Loss.',
    );
    const twice = table({ n: [1], Tokens: [2], tokens: [3], loss: [3] });
    expect(() => toPoints(twice, { n: "n", d: "TOKENS", loss: "loss" })).toThrow('has no column "TOKENS" (for d)');
  });

  test("takes a column that is undefined, as a notebook may give it, for one that is not named", () => {
    const given = { ...columns, c: undefined } as unknown as typeof columns;
    expect(toPoints(table({ n: [1], d: [2], c: [3], loss: [4] }), given).points).toEqual([{ n: 1, d: 2, loss: 4 }]);
  });

  test("asks which one, of columns with one name in the file", () => {
    const of = table({ "loss (column 1)": [1], n: [2], "loss (column 3)": [3] });
    expect(() => toPoints(of, { n: "n", loss: "loss" })).toThrow(
      'Cannot read points of the table: it has 2 columns named "loss" (for loss); rename one, or name the right one: "loss (column 1)" or "loss (column 3)".',
    );
    expect(toPoints(of, { n: "n", loss: "loss (column 3)" }).points[0]).toMatchObject({ n: 2, loss: 3 });
  });
});

describe("toStudy()", () => {
  const numbers = { n: [1, 2, 3, 4, 5], d: [6, 7, 8, 9, 10], loss: [5, 4, 3, 2, 1] };

  test("takes all rows for the grid if there are no roles", () => {
    const { points, rows, heldOut, tuning } = toStudy(table(numbers), columns);
    expect(points.map(({ n }) => n)).toEqual([1, 2, 3, 4, 5]);
    expect({ rows, heldOut, tuning }).toEqual({
      ...{ rows: [0, 1, 2, 3, 4], heldOut: { points: [], rows: [], dropped: [] }, tuning: [] },
    });
  });

  test("divides rows by role, however a role is spelled; an empty or unknown role is the grid's", () => {
    const role = ["Held_Out", null, " tuning ", "held out", "other"];
    const { rows, heldOut, tuning } = toStudy(table({ ...numbers, Role: role }), columns);
    expect({ rows, heldOut: heldOut.rows, tuning }).toEqual({ rows: [1, 4], heldOut: [0, 3], tuning: [2] });
    expect(heldOut.points).toEqual([
      { n: 1, d: 6, loss: 5 },
      { n: 4, d: 9, loss: 2 },
    ]);
    const inside = table({ ...numbers, role: ["", "", "", "not held out", "held outside"] });
    expect(toStudy(inside, columns).rows).toEqual([0, 1, 2, 3, 4]);
  });

  test("refuses a table without runs of the grid", () => {
    const role = ["tuning", "tuning", "held-out", "tuning", "tuning"];
    expect(() => toStudy(table({ ...numbers, role }), columns, { name: "t.csv" })).toThrow(
      "Cannot read points of t.csv: it has only tuning and held-out runs; `folio scaling tune` reads tuning runs.",
    );
  });
});

describe("toTuningPoints()", () => {
  const given = { n: "n", d: "d", rate: "rate", loss: "loss" };
  const numbers = { n: [10, 10, 30], d: [20, 20, 60], rate: [0.1, 0.2, 0.3], loss: [3, 2, 1] };

  test("reads rates and losses, and the batch from the first column of a known name", () => {
    expect(toTuningPoints(table(numbers), given)).toEqual([
      { parameters: 10, tokens: 20, learningRate: 0.1, loss: 3 },
      { parameters: 10, tokens: 20, learningRate: 0.2, loss: 2 },
      { parameters: 30, tokens: 60, learningRate: 0.3, loss: 1 },
    ]);
    const batches = { batch: [1, 2, 3], batch_size: [4, 5, 6], batch_tokens: [7, 8, 9] };
    const read = (of: object) => toTuningPoints(table({ ...numbers, ...of }), given).map(({ batch }) => batch);
    expect(read(batches)).toEqual([7, 8, 9]);
    expect(read({ batch: [1, 2, 3], Batch_Size: [4, 5, 6] })).toEqual([4, 5, 6]);
    expect(read({ batch: [1, 2, 3] })).toEqual([1, 2, 3]);
    const named = toTuningPoints(table({ ...numbers, ...batches }), { ...given, batch: "batch" });
    expect(named.map(({ batch }) => batch)).toEqual([1, 2, 3]);
  });

  test("reads only runs of role tuning, and all if there are no roles", () => {
    const read = (role: unknown[]) => toTuningPoints(table({ ...numbers, role }), given).map(({ loss }) => loss);
    expect(read(["grid", "tuning", ""])).toEqual([2, 1]);
    expect(() => read(["grid", "grid", "held-out"])).toThrow(
      "Cannot read points of the table: it has no runs of role tuning; a plan's `tuning` makes them.",
    );
  });

  test.each(["n", "d", "rate", "loss", "batch"])("leaves out a row that lacks its %s, or refuses it", (column) => {
    const all = { ...numbers, batch: [1, 1, 1] };
    const of = table({ ...all, [column]: [null, ...all[column as keyof typeof all].slice(1)] });
    expect(toTuningPoints(of, given, { missing: "drop" }).map(({ loss }) => loss)).toEqual([2, 1]);
    expect(() => toTuningPoints(of, given)).toThrow(`row 1 has nothing in column "${column}"`);
    const none = table({ ...all, [column]: [null, null, null] });
    expect(() => toTuningPoints(none, given, { missing: "drop", name: "t.csv" })).toThrow(
      "Cannot read points of t.csv: every row lacks a number.",
    );
  });

  test.each(["weight_decay", "beta1", "beta2", "grad_clip", "dropout", "schedule", "optimizer", "dataset"])(
    "refuses runs of one size that differ in %s, but not of two sizes or two batches",
    (setting) => {
      const read = (values: unknown[], more = {}) =>
        toTuningPoints(table({ ...numbers, [setting]: values, ...more }), given);
      expect(() => read(["a", "b", "b"])).toThrow(
        `Cannot read points of the table: runs with the same N and D differ in ${setting} (a and b), so their losses depend on more than the rate; keep the runs of one of these.`,
      );
      expect(() => read(["a", null, "a"])).toThrow("(a and null)");
      expect(read(["a", "a", "b"])).toHaveLength(3);
      expect(read(["a", "b", "b"], { batch: [1, 2, 2] })).toHaveLength(3);
    },
  );
});
