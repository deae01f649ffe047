/** Which optimizers there are. A new one is a file beside this one, and a row here. */
import type { Settings } from "../../settings/settings.js";
import { adamw } from "./adamw.js";
import type { Optimizer } from "./optimizer.js";

const optimizers = { adamw } satisfies Record<string, Optimizer>;

/** The optimizer of a run. No setting chooses yet: there is one. */
export function optimizerOf(_: Settings): Optimizer {
  return optimizers.adamw;
}
