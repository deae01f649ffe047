/** Activation patching: which values of a run, put into another, bring its answer back. */
import * as tf from "@tensorflow/tfjs-core";
import { float32, int32 } from "../../engine/host-tensors.js";
import type { Session, Step } from "../../engine/steps.js";
import type { ValueName } from "../../model/activations.js";
import { withEdits } from "../../model/edits.js";
import { forward } from "../../model/model.js";
import type { ModelSettings } from "../../settings/model.js";
import { inSession, type LookedAt, look, type Seen } from "../look.js";
import { type ChosenLogit, chosenLogit, type LogitMetric } from "./predictions.js";

/** What can be patched: the residual stream after attention or after a layer, and what attention, the MLP or each head adds. */
export type Patchable = "resid_mid" | "resid_out" | "attn.out" | "mlp.out" | "attn.head_out";

/** How to patch. */
export interface PatchingOptions<N extends Patchable> {
  /** The logit, or difference of two, that tells the two runs apart. */
  readonly metric: LogitMetric;
  /** What is patched; default `resid_out`, `attn.out` and `mlp.out`. */
  readonly names?: readonly N[];
}

/** The effects of one layer's, or one head's, value. */
export interface PatchRow {
  /** `layer 0`, or `head 0.3`. */
  readonly label: string;
  readonly layer: number;
  readonly head?: number;
  /** By position. */
  readonly effects: readonly number[];
}

/** What activationPatching() gives. */
export interface Patching<N extends Patchable> {
  /** The tokens of the two texts. */
  readonly tokens: { readonly clean: readonly string[]; readonly corrupted: readonly string[] };
  /** The metric in the two runs without a patch. */
  readonly metric: { readonly clean: number; readonly corrupted: number };
  readonly axes: readonly ["layer", "position"];
  /** By what is patched; for heads a row per head. */
  readonly maps: Readonly<Record<N, readonly PatchRow[]>>;
}

/** Rows × positions of one pass: more would take much memory. */
const mostTokens = 4096;

/**
 * The corrupted text runs through the model again and again, each time with one value at one position taken from the run of the
 * clean text (Meng 2022, "Locating and Editing Factual Associations in GPT"; Wang 2022, "Interpretability in the Wild").
 * `effect = (patched − corrupted) / (clean − corrupted)` of the metric: 0 where the patch changes nothing, 1 where it brings
 * the clean answer back; values below 0 and above 1 occur. The two texts must have as many tokens. [nLayer, T], of heads
 * [nLayer · nHead, T]
 * @throws {RangeError} for texts of different lengths, a metric that is the same in both, or an unknown token or position
 * @example
 * const options = { metric: { token: "e", minus: "i" }, names: ["resid_out"] };
 * const { maps } = await activationPatching(openCheckpoint("out"), "ROMEO: my lov", "ROMEO: my liv", options);
 */
export async function activationPatching<const N extends Patchable = "resid_out" | "attn.out" | "mlp.out">(
  model: LookedAt,
  clean: string | readonly number[],
  corrupted: string | readonly number[],
  { metric, names }: PatchingOptions<N>,
): Promise<Patching<N>> {
  const { settings } = model;
  const wanted = names ?? (usual as readonly Patchable[] as readonly N[]);
  const places = wanted.map((name) => [name, placesOf(name, settings)] as const);
  const values = places.flatMap(([, rows]) => rows.map(({ value }) => value));
  const { source, target, chosen, ends } = await bothRuns(model, { clean, corrupted, metric, values });
  const effectOf = (patched: number) => (patched - ends.corrupted) / (ends.clean - ends.corrupted);
  const maps: Partial<Record<N, PatchRow[]>> = {};
  await inSession(model, {}, async (session) => {
    for (const [name, rows] of places) {
      const found: PatchRow[] = [];
      for (const { value, ...place } of rows) {
        const patch = { value, head: place.head, clean: source.values[value]! };
        const metrics = await patchedMetrics(session, settings, { ids: target.ids, patch, chosen });
        found.push({ ...place, effects: metrics.map(effectOf) });
      }
      maps[name] = found;
    }
  });
  const tokens = { clean: source.tokens, corrupted: target.tokens };
  return { tokens, metric: ends, axes: ["layer", "position"], maps: maps as Record<N, PatchRow[]> };
}

const usual = ["resid_out", "attn.out", "mlp.out"] as const satisfies readonly Patchable[];

interface Pair {
  readonly clean: string | readonly number[];
  readonly corrupted: string | readonly number[];
  readonly metric: LogitMetric;
  /** What the clean run is read for. */
  readonly values: readonly ValueName[];
}

/** Both runs without a patch, and the metric in them. */
async function bothRuns(model: LookedAt, { clean, corrupted, metric, values }: Pair) {
  const source = await look(model, clean, [...new Set(values), "logits"]);
  const target = await look(model, corrupted, ["logits"]);
  const [S, T] = [source.ids.length, target.ids.length];
  if (S !== T)
    throw new RangeError(
      `Cannot patch: the clean text has ${S} tokens and the corrupted one ${T}; wanted texts of the same length, whose positions correspond.`,
    );
  const chosen = chosenLogit(metric, model, T);
  const start = chosen.position * model.settings.vocabSize;
  const metricIn = (logits: Seen) => metricOf(logits.values.subarray(start), chosen);
  const ends = { clean: metricIn(source.values.logits!), corrupted: metricIn(target.values.logits) };
  if (ends.clean === ends.corrupted)
    throw new RangeError(
      `Cannot patch: the metric at position ${chosen.position} is ${ends.clean} in both runs; choose a logit that tells them apart.`,
    );
  return { source, target, chosen, ends };
}

type Place = Omit<PatchRow, "effects"> & { readonly value: ValueName };

/** The rows of a map: each layer, or each head of each layer. */
function placesOf(name: Patchable, { nLayer, nHead }: ModelSettings): Place[] {
  return Array.from({ length: nLayer }, (_, layer) => layer).flatMap((layer): Place[] => {
    const value = `h.${layer}.${name}` as const;
    if (name !== "attn.head_out") return [{ label: `layer ${layer}`, layer, value }];
    return Array.from({ length: nHead }, (_, head) => ({ label: `head ${layer}.${head}`, layer, head, value }));
  });
}

function metricOf(logits: Float32Array, { token, minus }: ChosenLogit): number {
  return logits[token]! - (minus === undefined ? 0 : logits[minus]!);
}

interface Patch {
  readonly value: ValueName;
  readonly head: number | undefined;
  /** The value in the clean run, [1, T, C] or [1, H, T, C]. */
  readonly clean: Seen;
}

/** The metric after a patch at each position: as many copies of the text as there are positions, each patched at its own. */
async function patchedMetrics(
  session: Session,
  settings: ModelSettings,
  { ids, patch, chosen }: { readonly ids: readonly number[]; readonly patch: Patch; readonly chosen: ChosenLogit },
): Promise<number[]> {
  const T = ids.length;
  const run = session.define(patchStep(settings, patch, chosen.position));
  const clean = float32(patch.clean.values, patch.clean.shape);
  const metrics: number[] = [];
  const most = Math.max(1, Math.floor(mostTokens / T));
  for (let first = 0; first < T; first += most) {
    const rows = Math.min(most, T - first);
    const copies = Array.from({ length: rows }, () => ids).flat();
    const positions = int32(
      Int32Array.from({ length: rows }, (_, row) => first + row),
      [rows],
    );
    const { logits } = await run({ ids: int32(copies, [rows, T]), positions, clean });
    const values = logits!.values as Float32Array;
    for (let row = 0; row < rows; row++) metrics.push(metricOf(values.subarray(row * settings.vocabSize), chosen));
  }
  return metrics;
}

/** Inputs: `ids` [B, T], `positions` int32 [B], where each row is patched, `clean`. Output: `logits` [B, 1, V] at `position`. */
function patchStep(settings: ModelSettings, { value, head }: Patch, position: number): Step {
  return ({ params }, inputs) => {
    const ids = inputs.ids as tf.Tensor2D;
    const [B, T] = ids.shape;
    const to = (corrupted: tf.Tensor) => {
      const shape = corrupted.rank === 4 ? [B, 1, T, 1] : [B, T, 1];
      const here = tf.reshape(tf.cast(tf.oneHot(inputs.positions as tf.Tensor1D, T), "bool"), shape);
      const chosen = tf.logicalAnd(here, tf.onesLike(tf.cast(corrupted, "bool")));
      return tf.where(chosen, tf.add(tf.zerosLike(corrupted), inputs.clean!), corrupted);
    };
    const edits = { [value]: { to, ...(head !== undefined && { heads: [head] }) } };
    const options = { ...withEdits(edits, settings), lastOnly: tf.scalar(position, "int32") };
    return { outputs: { logits: forward(params!, ids, settings, options).logits } };
  };
}
