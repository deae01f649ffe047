/**
 * Stores the measurement on which choices.ts decides: a file beside the build, named after the processor, the library
 * of operations, TensorFlow and the number of threads (bin/state.mjs makes the name). Set-up's last step and `folio
 * doctor
 * --measure` measure; a training run never does, since its numbers would then depend on what else the machine is doing.
 * If the folder cannot be written, nothing is stored and the default choices apply.
 */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import * as z from "zod";
import { faultOf } from "../host/checked-json.js";
import { packageRoot } from "../host/package.js";
import { median } from "../host/statistics.js";
import {
  type Candidate,
  chooseProducts,
  isSteady,
  type MeasuredDtype,
  type MeasuredSteps,
  type ProcessorFacts,
} from "./choices.js";
import type { ProductChoice } from "./operations/in-place.js";

/** A measurement, and the conditions under which it was taken. */
export interface Measurement extends MeasuredSteps {
  readonly format: "folio-measurement";
  readonly version: 1;
  /** Time of the measurement, as ISO 8601. */
  readonly at: string;
  readonly processor: string;
  readonly threads: number;
  readonly tensorflow: string;
  /** The variant of Folio's own operations; null: none were loaded. */
  readonly operations: string | null;
}

/** The functions of bin/state.mjs that are used here. */
interface SetupState {
  layout(): unknown;
  measurementPaths(at: unknown): { file: string; program: string };
}

async function setupState(): Promise<SetupState> {
  return (await import(pathToFileURL(path.join(packageRoot(), "bin", "state.mjs")).href)) as SetupState;
}

/** The file for this process's processor, operations and threads. */
export async function measurementFile(): Promise<string> {
  const state = await setupState();
  return state.measurementPaths(state.layout()).file;
}

const step = z.object({
  shape: z.string(),
  gigaflop: z.number(),
  ms: z.record(z.string(), z.array(z.number().positive())),
});
const schema = z.object({
  ...{ format: z.literal("folio-measurement"), version: z.literal(1), at: z.string(), processor: z.string() },
  ...{ threads: z.int().min(1), tensorflow: z.string(), operations: z.string().nullable(), small: step, large: step },
});

/**
 * The measurement in a file.
 * @param operations the variant that is loaded; a measurement of another is not used
 * @returns the measurement, or why there is none
 */
export function readMeasurement(file: string, operations: string | undefined): Measurement | { missing: string } {
  let found: Partial<Measurement> & { failed?: string };
  try {
    found = JSON.parse(fs.readFileSync(file, "utf8")) as typeof found;
  } catch {
    return { missing: "none was taken with this processor, these operations and this number of threads" };
  }
  if (typeof found?.failed === "string") {
    return { missing: `${found.failed} (run \`folio doctor --measure\` to measure again)` };
  }
  if (faultOf(schema, found) !== undefined) {
    return { missing: `${file} is damaged or from another version` };
  }
  if (found.operations !== (operations ?? null)) {
    return {
      missing: `it was taken with ${found.operations ? `the operations ${found.operations}` : "TensorFlow's operations only"}`,
    };
  }
  return found as Measurement;
}

/** The measurement of this process's machine, if there is one. It does not change while the process runs. */
export async function measuredHere(operations: string | undefined): Promise<Measurement | undefined> {
  known ??= measurementFile().then((file) => readMeasurement(file, operations));
  const found = await known;
  return "missing" in found || found.operations !== (operations ?? null) ? undefined : found;
}
let known: Promise<Measurement | { missing: string }> | undefined;

/** Writes the file atomically. @throws {Error} when the folder cannot be written */
export function keepMeasurement(file: string, measurement: Measurement): void {
  const partial = `${file}.${process.pid}.partial`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(partial, `${JSON.stringify(measurement, null, 1)}\n`);
    fs.renameSync(partial, file);
  } catch (error) {
    throw new Error(
      `Cannot keep the measurement: ${(error as Error).message}. The default choices apply; make the folder writable and run \`folio doctor --measure\`.`,
      { cause: error },
    );
  }
}

/** A measurement in a readable form. */
export interface MeasuredReport {
  /** Time of the measurement, as ISO 8601. */
  readonly at: string;
  readonly threads: number;
  readonly file: string;
  readonly steps: readonly {
    readonly size: "small" | "large";
    readonly shape: string;
    readonly candidates: readonly { readonly name: Candidate; readonly ms: number; readonly gigaflops: number }[];
  }[];
  /** The products to use in each format. */
  readonly products: Readonly<Record<MeasuredDtype, ProductChoice>>;
  /** Whether each candidate's times were close to each other; otherwise the default choice applies. */
  readonly steady: boolean;
}

/** The medians of a measurement, and the resulting choices. */
export function measuredReport(found: Measurement, file: string, processor: ProcessorFacts): MeasuredReport {
  const steps = (["small", "large"] as const).map((size) => {
    const { shape, gigaflop, ms } = found[size];
    const candidates = Object.entries(ms).map(([name, times]) => {
      const medianMs = median(times);
      return { name: name as Candidate, ms: medianMs, gigaflops: (1000 * gigaflop) / medianMs };
    });
    return { size, shape, candidates };
  });
  const products = {
    float32: chooseProducts("float32", processor, found),
    bfloat16: chooseProducts("bfloat16", processor, found),
  };
  const steady = [found.small, found.large].every(({ ms }) => Object.values(ms).every(isSteady));
  return { at: found.at, threads: found.threads, file, steps, products, steady };
}

const names = { folio: "Folio's", tensorflow: "TensorFlow's" } as const;

export function describeProducts({ small, large }: ProductChoice): string {
  return small === large ? names[small] : `${names[small]} for small products, ${names[large]} for large ones`;
}

/** Name and value of each line of the report. */
export function measuredRows(measured: MeasuredReport | { readonly missing: string }): [string, string][] {
  if ("missing" in measured) return [["measured", `nothing: ${measured.missing}; the default choices apply`]];
  const rows = measured.steps.map(({ size, shape, candidates }): [string, string] => {
    const figures = candidates.map(
      ({ name, ms, gigaflops }) => `${name} ${ms.toFixed(1)} ms (${gigaflops.toFixed(0)} GFLOP/s)`,
    );
    return ["", `${size} step (${shape}): ${figures.join(", ")}`];
  });
  const { float32, bfloat16 } = measured.products;
  const short = measured.steps.some(({ candidates }) => candidates.some(({ name }) => name.startsWith("bfloat16")));
  const busy = measured.steady
    ? []
    : ["the machine was busy with something else; run `folio doctor --measure` to measure again"];
  return [
    ["measured", `${measured.at}, ${measured.threads} threads; a choice other than the default gains more than 5 %`],
    ...rows,
    ...busy.map((line): [string, string] => ["", line]),
    ["products", `float32: ${describeProducts(float32)}${short ? `; bfloat16: ${describeProducts(bfloat16)}` : ""}`],
  ];
}
