/** The rooms whose tests are tested, and the tests that must notice. */

export interface Room {
  /** Files and folders with sources, from the root. */
  readonly sources: readonly string[];
  readonly leaveOut?: readonly string[];
  /** Files and folders with the tests of the room; that a test elsewhere happens to fail does not count. */
  readonly tests: readonly string[];
}

export const rooms: Readonly<Record<string, Room>> = {
  model: {
    sources: ["lib/model"],
    leaveOut: ["lib/model/functional.ts"],
    tests: [
      "test/model",
      "test/inspect/look.test.ts",
      "test/inspect/value-names.test.ts",
      "test/sample/sample.test.ts",
    ],
  },
  functional: {
    sources: ["lib/model/functional.ts"],
    tests: ["test/model/functional.test.ts", "test/model/model.test.ts"],
  },
  optimizer: { sources: ["lib/train/optimizers"], tests: ["test/train/optimizers", "test/train/steps.test.ts"] },
  steps: {
    sources: ["lib/train/steps.ts"],
    tests: ["steps", "tiny", "golden", "optimizers/loss-scale"].map((name) => `test/train/${name}.test.ts`),
  },
  train: {
    sources: ["lib/train"],
    leaveOut: ["lib/train/optimizers", "lib/train/steps.ts"],
    tests: ["test/train", "test/weights/unfit-weights.test.ts"],
  },
  data: { sources: ["lib/data"], tests: ["test/data"] },
  sample: { sources: ["lib/sample"], tests: ["test/sample"] },
  weights: { sources: ["lib/weights"], tests: ["test/weights"] },
  "scaling/fit": {
    sources: ["scaling/fit.ts", "scaling/fit"],
    tests: ["test/scaling/fit", "test/scaling/curves.test.ts"],
  },
  "scaling/laws": {
    sources: ["laws", "optimum", "conventions", "points", "published", "rules", "read-points", "tables/columns"].map(
      (name) => `scaling/${name}.ts`,
    ),
    tests: ["laws", "values", "conventions", "cases", "read-points"].map((name) => `test/scaling/${name}.test.ts`),
  },
  sweep: { sources: ["scaling/sweep.ts", "scaling/sweep"], tests: ["test/scaling/sweep", "test/cli/scaling"] },
};
