/** The list of optimizers. To add one, add a file beside this one and a row here. */
import type { Settings } from "../../settings/settings.js";
import { adamw } from "./adamw.js";
import type { Optimizer } from "./optimizer.js";

const optimizers = { adamw } satisfies Record<string, Optimizer>;

/** The optimizer of a run. There is only one so far, so no setting chooses. */
export function optimizerOf(_: Settings): Optimizer {
  return optimizers.adamw;
}
