/**
 * What decides, besides a run's settings, data and version, how its numbers are rounded: number format, operations, and whose matrix
 * products. A run keeps it with its checkpoints, a sweep in its folder, so that what goes on does so to the same numbers, or says
 * that it cannot.
 */
import { z } from "zod";
import type { ResolvedDevice } from "./device.js";
import { importantInstructionSets, instructionFlags } from "./number-format.js";
import type { ProductChoice } from "./operations/in-place.js";

export interface Numerics {
  readonly device: ResolvedDevice["device"];
  readonly dtype: ResolvedDevice["dtype"];
  /** On a CPU: the variant of Folio's own operations, or "none". */
  readonly operations?: string;
  /** On a CPU: whose products, by size. */
  readonly products?: ProductChoice;
  /** On a CPU: its instruction sets, by which TensorFlow's products differ. */
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

/** What this machine cannot do as the other did: `operations avx2 here, avx512 there`. Format and choice of products it can. */
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
 * The machine with the format and the choices of what is gone on with.
 * @param kept what that was computed with; undefined where it does not say, as before Folio kept it
 * @param options.what "the run in out", for the message
 * @param options.allow go on with this machine's own where it cannot do the same
 * @throws {RangeError} that says in what the machine differs
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
      `Cannot go on with ${what} to the same numbers: ${differing.join("; ")}. Go on where it began, or accept that it rounds differently from here on (allowOtherNumerics: true).`,
    );
  }
  const { dtype, products } = kept;
  const dtypeReason = dtype === machine.dtype ? machine.dtypeReason : `as ${what} was computed so far`;
  return { ...machine, dtype, dtypeReason, ...(products && { products }) };
}
