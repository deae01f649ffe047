/** Where measurements are stored, and when they are valid. */
import fs from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import * as state from "../../bin/state.mjs";
import { keepMeasurement, type Measurement, readMeasurement } from "../../lib/engine/measurement.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const step = { shape: "a test's", gigaflop: 1, ms: { "float32 folio": [2, 2, 2], "float32 tensorflow": [1, 1, 1] } };
const measurement: Measurement = {
  ...{ format: "folio-measurement", version: 1, at: "2026-11-28T09:00:00.000Z", processor: "A processor" },
  ...{ threads: 2, tensorflow: "2.21.0", operations: "avx2", small: step, large: step },
};

describe("readMeasurement()", () => {
  const file = path.join(folder, "cache", "measured.json");

  test("returns a stored measurement if it was made with the same operations", () => {
    expect(readMeasurement(file, "avx2")).toEqual({ missing: expect.stringContaining("none was taken") });
    keepMeasurement(file, measurement);
    expect(readMeasurement(file, "avx2")).toEqual(measurement);
    expect(readMeasurement(file, undefined)).toEqual({ missing: "it was taken with the operations avx2" });
    expect(fs.readdirSync(path.dirname(file))).toEqual(["measured.json"]);
  });

  test("says why a file is not valid", () => {
    const broken = path.join(folder, "broken.json");
    fs.writeFileSync(broken, JSON.stringify({ failed: "no memory" }));
    expect(readMeasurement(broken, "avx2")).toEqual({
      missing: "no memory (run `folio doctor --measure` to measure again)",
    });
    fs.writeFileSync(broken, JSON.stringify({ ...measurement, version: 2 }));
    expect(readMeasurement(broken, "avx2")).toEqual({ missing: expect.stringContaining("another version") });
    for (const damaged of [
      { ...measurement, small: {} },
      { ...measurement, large: { ...step, ms: { eager: "2" } } },
      null,
    ]) {
      fs.writeFileSync(broken, JSON.stringify(damaged));
      expect(readMeasurement(broken, "avx2")).toEqual({ missing: expect.stringContaining("damaged") });
    }
  });

  test("storing in a read-only folder reports the error and what to do, and leaves nothing behind", () => {
    const taken = path.join(folder, "a-file");
    fs.writeFileSync(taken, "");
    expect(() => keepMeasurement(path.join(taken, "measured.json"), measurement)).toThrow(
      /^Cannot keep the measurement: .* The default choices apply; make the folder writable and run `folio doctor --measure`\.$/,
    );
  });
});

describe("set-up's step", () => {
  const root = path.join(folder, "checkout");
  const write = (name: string, text: string) => {
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  };
  const venv = (more = {}) =>
    write(".venv/folio.json", JSON.stringify({ variant: "cpu", tensorflow: { version: "2" }, ...more }));
  write("package-lock.json", "{}");
  write("node_modules/@tensorflow/tfjs-node-gpu/package.json", "{}");
  write("dist/lib/bench/measure-process.js", "");
  fs.mkdirSync(path.join(root, ".cache"));
  venv();
  const at = state.layout(root);
  const file = () => state.measurementPaths(at).file;

  afterEach(() => vi.unstubAllEnvs());

  test("is due once for each library, TensorFlow, target and number of threads", () => {
    vi.stubEnv("FOLIO_FUSED", undefined);
    const seen = new Set<string>();
    const due = () => {
      expect(state.measurementReason(at)).toMatch("there is none");
      expect(seen.has(file())).toBe(false);
      seen.add(file());
      fs.writeFileSync(file(), "{}");
      expect(state.measurementReason(at)).toBeUndefined();
    };
    due();
    write(path.relative(root, state.operationsPaths(at).file), "a library");
    due();
    write(path.relative(root, state.operationsPaths(at).file), "another");
    due();
    venv({ tensorflow: { version: "3" } });
    due();
    vi.stubEnv("TF_NUM_INTRAOP_THREADS", "77");
    due();
    vi.stubEnv("FOLIO_TARGET", "avx2");
    due();
    vi.stubEnv("FOLIO_FUSED", "0");
    due();
  });

  test("is not due with TensorFlow for a GPU, nor if it cannot be stored", () => {
    fs.rmSync(file(), { force: true });
    expect(state.measurementReason(at)).toBeDefined();
    venv({ variant: "cuda" });
    expect(state.measurementReason(at)).toBeUndefined();
    venv();
    expect(state.measurementReason({ ...at, cacheDir: path.join(root, "nowhere") })).toBeUndefined();
  });
});
