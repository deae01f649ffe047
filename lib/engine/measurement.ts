/**
 * Where the figures are kept that choices.ts decides by: a file beside the build, named after the processor, the library of
 * operations, TensorFlow and the number of threads (bin/state.mjs says how). Set-up's last step has it made, and `folio
 * doctor --measure`; a training never does, for its numbers would hang on what else the machine is doing. Where the folder
 * cannot be written, nothing is kept and the usual choices stand.
 */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { z } from "zod";
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

/** What was measured, and of what. */
export interface Measurement extends MeasuredSteps {
  readonly format: "folio-measurement";
  readonly version: 1;
  /** When, as ISO 8601. */
  readonly at: string;
  readonly processor: string;
  readonly threads: number;
  readonly tensorflow: string;
  /** The variant of Folio's own operations; null: none were loaded. */
  readonly operations: string | null;
}

/** bin/state.mjs, as much as is used here. */
interface SetupState {
  layout(): unknown;
  measurementPaths(at: unknown): { file: string; program: string };
}

async function setupState(): Promise<SetupState> {
  return (await import(pathToFileURL(path.join(packageRoot(), "bin", "state.mjs")).href)) as SetupState;
}

/** The file of this process's processor, operations and threads. */
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
 * The measurement that a file holds.
 * @param operations the variant that is loaded: figures of another say nothing
 * @returns or why there is none
 */
export function readMeasurement(file: string, operations: string | undefined): Measurement | { missing: string } {
  let found: Partial<Measurement> & { failed?: string };
  try {
    found = JSON.parse(fs.readFileSync(file, "utf8")) as typeof found;
  } catch {
    return { missing: "none was taken with this processor, these operations and this number of threads" };
  }
  if (typeof found?.failed === "string")
    return { missing: `${found.failed} (\`folio doctor --measure\` measures again)` };
  if (faultOf(schema, found) !== undefined) {
    return { missing: `${file} is damaged, or another version's` };
  }
  if (found.operations !== (operations ?? null)) {
    return { missing: `it was taken with the operations ${found.operations ?? "of TensorFlow alone"}` };
  }
  return found as Measurement;
}

/** What is known of this process's machine; undefined: nothing. The same for as long as the process lives. */
export async function measuredHere(operations: string | undefined): Promise<Measurement | undefined> {
  known ??= measurementFile().then((file) => readMeasurement(file, operations));
  const found = await known;
  return "missing" in found || found.operations !== (operations ?? null) ? undefined : found;
}
let known: Promise<Measurement | { missing: string }> | undefined;

/** Writes it whole or not at all. @throws {Error} when the folder cannot be written */
export function keepMeasurement(file: string, measurement: Measurement): void {
  const partial = `${file}.${process.pid}.partial`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(partial, `${JSON.stringify(measurement, null, 1)}\n`);
    fs.renameSync(partial, file);
  } catch (error) {
    throw new Error(
      `Cannot keep the measurement: ${(error as Error).message}. The usual choices stand; make the folder writable and run \`folio doctor --measure\`.`,
      { cause: error },
    );
  }
}

/** What a measurement says, for people. */
export interface MeasuredReport {
  /** When, as ISO 8601. */
  readonly at: string;
  readonly threads: number;
  readonly file: string;
  readonly steps: readonly {
    readonly size: "small" | "large";
    readonly shape: string;
    readonly candidates: readonly { readonly name: Candidate; readonly ms: number; readonly gigaflops: number }[];
  }[];
  /** Whose products a format takes. */
  readonly products: Readonly<Record<MeasuredDtype, ProductChoice>>;
  /** Whether the times of each candidate were close to each other; where they were not, the usual choice stands. */
  readonly steady: boolean;
}

/** The figures of a measurement, medians, and what is chosen by them. */
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
  return small === large ? names[small] : `${names[small]} where small, ${names[large]} where large`;
}

/** Name and value of each line. */
export function measuredRows(measured: MeasuredReport | { readonly missing: string }): [string, string][] {
  if ("missing" in measured) return [["measured", `nothing: ${measured.missing}; the usual choices stand`]];
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
    : ["the machine was busy with something else: `folio doctor --measure` measures again"];
  return [
    ["measured", `${measured.at}, ${measured.threads} threads; any other choice than the usual one gains over 5 %`],
    ...rows,
    ...busy.map((line): [string, string] => ["", line]),
    ["products", `float32: ${describeProducts(float32)}${short ? `; bfloat16: ${describeProducts(bfloat16)}` : ""}`],
  ];
}
