/** The player: the steps of a computation, one at a time. */
import { shownToken } from "../page/parts/numbers.js";
import type { ComputationStep } from "../steps/computation-step.js";
import { arrayData } from "./array.js";
import { makeView, type View } from "./view.js";

export interface PlayerOptions {
  readonly title?: string;
  /** The tokens along T and S. */
  readonly tokens?: readonly string[];
  /** Labels of the places along other axes, such as `{ V: letters }`. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
}

/**
 * Steps as something to play: next, back, jump to a name; each with its formula, its line in the library, what it takes,
 * its FLOPs and its output by slices.
 * @param steps as forwardSteps(), updateSteps() and drawSteps() give them
 * @throws {RangeError} without steps
 * @example (await playerView(forwardSteps(openCheckpoint("out"), "ROMEO"))).show();
 */
export async function playerView(
  steps: AsyncIterable<ComputationStep> | Iterable<ComputationStep>,
  { title = "Step by step", tokens, labels: others }: PlayerOptions = {},
): Promise<View> {
  const along = tokens?.map(shownToken);
  const labels = { ...(along && { T: along, S: along }), ...others };
  const played = [];
  for await (const { name, formula, source, inputs, flops, axes, output } of steps) {
    const array = arrayData(output, { title: name, axes, labels });
    played.push({ name, formula, source, inputs, flops, output: array });
  }
  if (played.length === 0) throw new RangeError("Cannot play a computation: it has no steps.");
  return makeView("player", { title, steps: played });
}
