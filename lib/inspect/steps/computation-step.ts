/**
 * A step of a computation that is walked through: a forward pass (forward-steps.ts), an update of the weights
 * (update-steps.ts), the draw of a token (draw-steps.ts). views/player.ts plays them.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { HostTensor } from "../../engine/host-tensors.js";
import { packageRoot } from "../../host/package.js";

export interface ComputationStep {
  readonly name: string;
  readonly formula: string;
  /** File and line of the library where it is computed: "lib/model/model.ts:187". */
  readonly source: string;
  /** Names of the values and parameters that it takes. */
  readonly inputs: readonly string[];
  /** Matrix products only, 2 per multiply-add, as flopsTable() counts. */
  readonly flops: number;
  readonly axes: readonly string[];
  readonly output: HostTensor;
}

const files = new Map<string, readonly string[]>();

/**
 * Where a piece of code stands: `file:line`.
 * @param within the function that it is in, if the code occurs elsewhere too
 * @throws {Error} if the file has no such code
 */
export function sourceOf(file: string, code: string | RegExp, within = ""): string {
  let lines = files.get(file);
  if (!lines) {
    lines = readFileSync(path.join(packageRoot(), file), "utf8").split("\n");
    files.set(file, lines);
  }
  const from = within ? lines.findIndex((line) => line.includes(`function ${within}(`)) : 0;
  const index = lines.findIndex(
    (line, at) => at >= from && (typeof code === "string" ? line.includes(code) : code.test(line)),
  );
  if (from < 0 || index < 0)
    throw new Error(`Cannot find the source: ${file} has no ${code}${within && ` in ${within}()`}.`);
  return `${file}:${index + 1}`;
}
