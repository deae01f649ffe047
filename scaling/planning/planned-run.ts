/** A cell of a plan → its run: complete settings, steps, FLOPs, memory, time and name. plan.ts chooses the cells. */

import type { TokenMeta } from "../../lib/data/dataset.js";
import { memoryBytes } from "../../lib/model/memory.js";
import { flopsPerToken, tokensPerStep } from "../../lib/model/sizing.js";
import { parseSettings, type Settings } from "../../lib/settings/settings.js";
import type { Wanted } from "./cells.js";
import { applyRule, rowsOf } from "./learning-rates.js";
import type { PlannedRun, PlanOptions, Role } from "./plan-types.js";
import { type Ladder, type ModelShape, sizeOf } from "./shapes.js";
import { runSeconds, type Speed } from "./time-estimate.js";

/** Everything besides the cells that determines the runs of a plan. */
export interface Context {
  readonly options: PlanOptions;
  readonly base: Readonly<Settings>;
  readonly meta: TokenMeta;
  readonly ladder: Ladder;
  readonly workers: number;
  readonly speed: Speed | undefined;
}

/** A cell of the grid, or one for a held-out or tuning run. */
export interface Cell extends Wanted {
  readonly role: Role;
  readonly learningRate?: number;
  readonly seed: number;
}

/** `2L48` */
export const shapeName = ({ nLayer, nEmbd }: ModelShape): string => `${nLayer}L${nEmbd}`;

/** The run of a cell, with a model shape. */
export function plannedRun(cell: Cell, shape: ModelShape, context: Context): PlannedRun {
  const { base, meta, options, speed } = context;
  const parameters = sizeOf(shape, base);
  const flopsEach = flopsPerToken({ ...base, ...shape });
  const { budgetFlops, tokensPerParameter } = cell;
  const wantedTokens = tokensPerParameter ? tokensPerParameter * parameters : budgetFlops! / flopsEach;
  const inputs = { parameters, tokens: wantedTokens };
  const settings = runSettings(cell, shape, { inputs, options, base });
  const steps = settings.maxIters;
  const tokens = steps * tokensPerStep(settings);
  const flops = tokens * flopsEach;
  const { validationTokens = 262_144 } = options;
  return {
    name: nameOf(cell, shape, { flops, learningRate: settings.learningRate, seeds: options.seeds }),
    role: cell.role,
    budgetFlops: cell.budgetFlops ?? null,
    settings,
    parameters,
    steps,
    tokens,
    epochs: tokens / meta.splits.train.tokens,
    flops,
    memoryBytes: memoryBytes(settings),
    seconds: speed ? runSeconds(settings, { validationTokens, speed }) : null,
  };
}

function runSettings(
  { role, learningRate, seed }: Cell,
  shape: ModelShape,
  { inputs, options, base }: { inputs: { parameters: number; tokens: number }; options: PlanOptions; base: Settings },
): Readonly<Settings> {
  const { warmup = 0.05, finalRate = 0 } = options;
  const batchSize = rowsOf(options.batchTokens, base.blockSize, inputs);
  const stepTokens = tokensPerStep({ ...base, batchSize });
  const maxIters = Math.max(1, Math.round(inputs.tokens / stepTokens));
  const rate = significant(role === "tuning" ? learningRate! : applyRule(options.learningRate, inputs));
  return parseSettings(
    {
      ...shape,
      seed,
      batchSize,
      maxIters,
      lrDecayIters: maxIters,
      warmupIters: Math.min(maxIters - 1, Math.max(1, Math.round(warmup * maxIters))),
      learningRate: rate,
      minLr: significant(rate * finalRate),
      // The worker evaluates the model at the end; evaluations during training are not needed.
      evalInterval: maxIters,
      evalIters: 1,
      logInterval: Math.max(1, Math.round(maxIters / 200)),
      saveInterval: Math.max(1, Math.round(maxIters / 10)),
      keepCheckpoints: 1,
    },
    base,
  );
}

/** Rounds to four digits, so that the rate is easy to write down. */
const significant = (value: number): number => Number(value.toPrecision(4));

function nameOf(
  { role, budgetFlops, seed }: Cell,
  shape: ModelShape,
  { flops, learningRate, seeds }: { flops: number; learningRate: number; seeds: readonly number[] | undefined },
): string {
  const budget = (budgetFlops ?? flops).toExponential(2).replace("+", "");
  const rate = role === "tuning" ? [`lr${learningRate}`] : [];
  const which = seeds && seeds.length > 1 ? [`seed${seed}`] : [];
  return [role, budget, shapeName(shape), ...rate, ...which].join("-");
}
