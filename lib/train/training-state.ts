/**
 * The groups of a training session's state, initial or from a checkpoint: `params`; the optimizer's groups; with
 * several micro-batches, `sums` of their gradients; with a scaled loss, `scaler`. steps.ts updates them.
 */
import { float32, type HostState, type HostTensors, mapRecord, type TensorSpecs } from "../engine/host-tensors.js";
import type { Settings } from "../settings/settings.js";
import type { Training } from "../weights/pretrained.js";
import { initialLossScale, isScaled } from "./optimizers/loss-scale.js";
import { optimizerOf } from "./optimizers/optimizers.js";
import { microsPerDevice } from "./steps.js";

const zeros = (specs: TensorSpecs): HostTensors =>
  mapRecord(specs, ({ shape }) => float32(new Float32Array(shape.reduce((product, axis) => product * axis, 1)), shape));

/** The state of a training with these weights, from `from` or initial; for an evaluation, only the weights. */
export function trainingState(settings: Settings, params: HostTensors, from?: Training): HostState {
  if (settings.evalOnly) return { params };
  const { scaler = initialLossScale(from?.step ?? 0), ...optimizer } = from ? keptState(settings, from) : {};
  return {
    params,
    ...(from ? optimizer : mapRecord(optimizerOf(settings).groups(params), zeros)),
    ...(microsPerDevice(settings) > 1 && { sums: zeros(params) }),
    ...(isScaled(settings) && { scaler }),
  };
}

/** The optimizer's groups of a training's state. */
export function optimizerState(settings: Settings, state: HostState): HostState {
  const groups = Object.keys(optimizerOf(settings).groups({}));
  return Object.fromEntries(groups.flatMap((group) => (state[group] ? [[group, state[group]]] : [])));
}

/** The groups that a checkpoint stores beside the weights, on which the next update depends. */
export function keptGroups(settings: Settings): string[] {
  return [...Object.keys(optimizerOf(settings).groups({})), ...(isScaled(settings) ? ["scaler"] : [])];
}

/**
 * The groups of a continued training, by its optimizer's names. The scaler is not a group of the optimizer, since a run
 * may continue with or without a scaled loss.
 * @throws {Error} when they are not exactly the optimizer's groups
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
    throw refuse(`${name} ${there ? `as ${there.dtype} [${there.shape}]` : "missing"}; wanted ${dtype} [${shape}]`);
  }
  const extra = Object.keys(tensors).find((name) => !(name in specs));
  if (extra) throw refuse(`${extra}, which is unknown`);
}
