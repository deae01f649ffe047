/**
 * What determines how a run's numbers are rounded, besides its settings, data and version: number format, operations,
 * and the choice of matrix products. A run stores it with its checkpoints, and a sweep in its folder, so that they
 * continue with the same numbers or report that they cannot.
 */
import * as z from "zod";
import type { ResolvedDevice } from "./device.js";
import { importantInstructionSets, instructionFlags } from "./number-format.js";
import type { ProductChoice } from "./operations/in-place.js";

export interface Numerics {
  readonly device: ResolvedDevice["device"];
  readonly dtype: ResolvedDevice["dtype"];
  /** On a CPU: the variant of Folio's operations, or "none". */
  readonly operations?: string;
  /** On a CPU: the choice of products, by size. */
  readonly products?: ProductChoice;
  /** On a CPU: its instruction sets, on which the results of TensorFlow's products depend. */
  readonly instructions?: readonly string[];
}

const whose = z.enum(["folio", "tensorflow"]);
const rounding = { dtype: z.enum(["float32", "bfloat16", "float16"]) };
/** As it is kept: in a checkpoint's state, in a sweep's folder. */
export const numericsSchema = z.discriminatedUnion("device", [
  z.object({ device: z.enum(["cuda", "webgpu"]), ...rounding }),
  z.object({
    ...{ device: z.literal("cpu"), ...rounding, operations: z.string().max(64) },
    ...{ products: z.object({ small: whose, large: whose }), instructions: z.array(z.string().max(64)).max(64) },
  }),
]);
export function numericsOf({ device, dtype, operations, products }: ResolvedDevice): Numerics {
  if (!operations || !products) return { device, dtype };
  return { device, dtype, operations, products, instructions: importantInstructionSets(instructionFlags()) };
}

/**
 * In what this machine cannot reproduce the other's numbers: `operations avx2 here, avx512 there`. Number format and
 * choice of products are not compared, since it can adopt them.
 */
export function differingNumerics(here: Numerics, there: Numerics): string[] {
  const differing = (what: string, a: string | undefined, b: string | undefined) =>
    a === b ? [] : [`${what} ${a ?? "unknown"} here, ${b ?? "unknown"} there`];
  if (here.device !== there.device) return differing("device", here.device, there.device);
  const byProcessor = Object.values(there.products ?? {}).some((whose) => whose === "tensorflow");
  const sets = ({ instructions }: Numerics) => instructions?.join(" ") || "none";
  return [
    ...differing("operations", here.operations, there.operations),
    ...(byProcessor ? differing("instruction sets", sets(here), sets(there)) : []),
  ];
}

/**
 * The machine with the number format and choice of products of the work to continue.
 * @param kept the numerics of that work; undefined if they were not stored, as in older versions
 * @param options.what "the run in out", for the message
 * @param options.allow continue with this machine's numerics if it cannot reproduce the others
 * @throws {RangeError} that says how the machine differs
 */
export function withNumerics(
  machine: ResolvedDevice,
  kept: Numerics | undefined,
  { what, allow }: { what: string; allow: boolean },
): ResolvedDevice {
  if (!kept) return machine;
  const differing = differingNumerics(numericsOf(machine), kept);
  if (differing.length > 0) {
    if (allow) return machine;
    throw new RangeError(
      `Cannot continue ${what} with the same numbers: ${differing.join("; ")}. Continue it on the machine where it began, or accept that it rounds differently from now on (allowOtherNumerics: true).`,
    );
  }
  const { dtype, products } = kept;
  const dtypeReason = dtype === machine.dtype ? machine.dtypeReason : `as in ${what} so far`;
  return { ...machine, dtype, dtypeReason, ...(products && { products }) };
}
