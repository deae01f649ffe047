/** Reads the JSON of `folio scaling fit --json`. Only the parts that are needed to answer questions are checked. */
import { readFileSync } from "node:fs";
import * as z from "zod";
import { type Fit, fitMethods } from "../points.js";

const numbers = z.record(z.string(), z.number());
// For a law of C alone, the ranges of N and D are null in JSON.
const interval = z.tuple([z.number().nullable(), z.number().nullable()]);
const schema = z.looseObject({
  method: z.enum(fitMethods),
  params: numbers,
  exponents: z.object({ a: z.number(), b: z.number() }).optional(),
  converged: z.boolean(),
  points: z.number(),
  range: z.object({ n: interval, d: interval, c: interval }),
  warnings: z.array(z.object({ kind: z.string(), message: z.string() })),
  bootstrap: z.array(numbers).optional(),
  lossUnit: z.enum(["nats", "bits", "ppl"]).optional(),
  counting: z
    .object({ parameters: z.string().optional(), flops: z.string().optional(), flopsPerProduct: z.number().positive() })
    .optional(),
});

/** The fit in a file; undefined if it is another file, such as a table. @throws {TypeError} for a damaged fit */
export function readFitIfAny(file: string): Fit | undefined {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
  const isFit = typeof content === "object" && content !== null && "params" in content && "method" in content;
  return isFit ? readFit(file) : undefined;
}

/** What to do with a table where a fit is wanted. */
const fitFirst = (file: string) =>
  `to use a table of trainings, fit it first: \`folio scaling fit ${file} … --json fit.json\``;

/** @throws {Error} if there is no such file, or it is not a fit */
export function readFit(file: string): Fit {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined)
      throw new Error(`Cannot read the fit ${file}: it is not JSON; ${fitFirst(file)}.`, { cause: error });
    const found = code === "ENOENT" ? "there is no such file" : message;
    throw new Error(`Cannot read the fit ${file}: ${found}; \`folio scaling fit TABLE … --json FIT\` writes one.`, {
      cause: error,
    });
  }
  const read = schema.safeParse(content);
  if (read.success) return read.data as unknown as Fit;
  if (Array.isArray(content)) throw new TypeError(`Cannot read the fit ${file}: it is a table; ${fitFirst(file)}.`);
  const [issue] = read.error.issues;
  const where = issue!.path.length > 0 ? `${issue!.path.join(".")}: ` : "";
  throw new TypeError(
    `Cannot read the fit ${file}: ${where}${issue!.message}; wanted the JSON of \`folio scaling fit --json\`.`,
  );
}
