/**
 * What a training session holds: the groups of its state, as they begin or as a checkpoint has them. `params`; the optimizer's
 * own; with several micro-batches `sums` of their gradients; with a scaled loss `scaler`. steps.ts says what becomes of them.
 */
import { float32, type HostState, type HostTensors, mapRecord, type TensorSpecs } from "../engine/host-tensors.js";
import type { Settings } from "../settings/settings.js";
import type { Training } from "../weights/pretrained.js";
import { initialLossScale, isScaled } from "./optimizers/loss-scale.js";
import { optimizerOf } from "./optimizers/optimizers.js";

const zeros = (specs: TensorSpecs): HostTensors =>
  mapRecord(specs, ({ shape }) => float32(new Float32Array(shape.reduce((product, axis) => product * axis, 1)), shape));

/** The state of a training with these weights: what `from` kept of it, or as it begins. An evaluation needs no more. */
export function trainingState(settings: Settings, params: HostTensors, from?: Training): HostState {
  if (settings.evalOnly) return { params };
  const { scaler = initialLossScale(from?.step ?? 0), ...optimizer } = from ? keptState(settings, from) : {};
  return {
    params,
    ...(from ? optimizer : mapRecord(optimizerOf(settings).groups(params), zeros)),
    ...(settings.gradientAccumulationSteps > 1 && { sums: zeros(params) }),
    ...(isScaled(settings) && { scaler }),
  };
}

/** What the optimizer holds, of a training's state. */
export function optimizerState(settings: Settings, state: HostState): HostState {
  const groups = Object.keys(optimizerOf(settings).groups({}));
  return Object.fromEntries(groups.flatMap((group) => (state[group] ? [[group, state[group]]] : [])));
}

/** The groups that a checkpoint keeps beside the weights: what the next update depends on. */
export function keptGroups(settings: Settings): string[] {
  return [...Object.keys(optimizerOf(settings).groups({})), ...(isScaled(settings) ? ["scaler"] : [])];
}

/**
 * The groups of a training that goes on, under the names that its optimizer has for them. A scaler is not of the optimizer: a
 * run may go on with a scaled loss, or without.
 * @throws {Error} when they are not those of the optimizer, whole
 */
function keptState(settings: Settings, { path, params, optimizer: found, step }: Training): HostState {
  const { groups, pytorchNames } = optimizerOf(settings);
  const refuse = (fault: string) => new Error(`Cannot resume from ${path}: its optimizer ${fault}.`);
  const wanted = groups(params);
  const known = new Set([...Object.keys(wanted), ...Object.values(pytorchNames), "scaler"]);
  const stray = Object.keys(found).find((group) => !known.has(group));
  if (stray) throw refuse(`has the unknown group ${stray}`);
  const kept = mapRecord(wanted, (specs, group) => {
    const tensors = found[group] ?? found[pytorchNames[group] ?? group] ?? (step === 0 ? zeros(specs) : {});
    checkGroup(specs, tensors, (fault) => refuse(`has ${group}/${fault}`));
    return tensors;
  });
  if (!found.scaler) return kept;
  checkGroup(initialLossScale(0), found.scaler, (fault) => refuse(`has scaler/${fault}`));
  return { ...kept, scaler: found.scaler };
}

function checkGroup(specs: TensorSpecs, tensors: HostTensors, refuse: (fault: string) => Error): void {
  for (const [name, { dtype, shape }] of Object.entries(specs)) {
    const there = tensors[name];
    if (there?.dtype === dtype && there.shape.join() === shape.join()) continue;
    throw refuse(
      `${name} ${there ? `as ${there.dtype} [${there.shape}]` : "missing"}, where ${dtype} [${shape}] is wanted`,
    );
  }
  const extra = Object.keys(tensors).find((name) => !(name in specs));
  if (extra) throw refuse(`${extra}, which is unknown`);
}
