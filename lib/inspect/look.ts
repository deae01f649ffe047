/**
 * Values of a forward pass, and their gradients, on the host: which by name, of which text, after which edits.
 * lib/model/activations.ts lists the names. Notebook 00-start looks inside.
 */
import * as tf from "@tensorflow/tfjs-core";
import { type Tokenizer, type TokenizerSpec, tokenizerFromSpec } from "../data/tokenizers/tokenizer.js";
import { resolveDevice } from "../engine/device.js";
import { type HostTensor, type HostTensors, int32 } from "../engine/host-tensors.js";
import { openSession } from "../engine/session.js";
import type { Session, Step } from "../engine/steps.js";
import { type Axis, type ValueName, type ValueSpec, valueSpecs } from "../model/activations.js";
import { type Edits, unknownValue, withEdits } from "../model/edits.js";
import { forward, loss, type Parameters } from "../model/model.js";
import type { ModelSettings } from "../settings/model.js";
import type { TrainedModel } from "../weights/pretrained.js";

/** A value that was looked at; another text's value may stand in its place in an edit. */
export interface Seen extends HostTensor {
  readonly name: ValueName;
  readonly dtype: "float32";
  readonly axes: readonly Axis[];
  readonly shape: readonly number[];
  /** Row by row, the last axis fastest. */
  readonly values: Float32Array;
  /** d of what was asked for / d of each value; where gradientOf was given. */
  readonly gradient?: Float32Array;
}

/** What look() gives: the values by name, and the tokens that they belong to. */
export interface Looked<N extends ValueName> {
  readonly ids: readonly number[];
  /** The text of each token; of a model without a tokenizer its id. */
  readonly tokens: readonly string[];
  readonly values: Readonly<Record<N, Seen>>;
}

/** A number that gradients are of: the mean loss of the text's next tokens, a logit, or a function of the logits [1, T, V]. */
export type Target =
  | "loss"
  | { readonly position: number; readonly token: number }
  | ((logits: tf.Tensor3D) => tf.Scalar);

export interface LookOptions {
  readonly edits?: Edits;
  readonly gradientOf?: Target;
  /** Where the model does not bring its own. */
  readonly tokenizer?: Tokenizer;
  /** Traced, as training runs it, or (the default) line by line. */
  readonly compile?: boolean;
}

/** A model as openCheckpoint or loadPretrained give it. */
export type LookedAt = TrainedModel & { readonly tokenizer?: TokenizerSpec | Tokenizer | undefined };

/**
 * Runs one forward pass over `text` and gives the named values; nothing else stays in memory.
 * @param text a text, or ids
 * @throws {RangeError} for a name, head, layer or position that the model does not have, and for a text that does not fit
 * @example
 * const { tokens, values } = await look(openCheckpoint("out"), "ROMEO: my", ["h.0.attn.weights"]);
 */
export async function look<const N extends ValueName>(
  model: LookedAt,
  text: string | readonly number[],
  names: readonly N[],
  options: LookOptions = {},
): Promise<Looked<N>> {
  const { settings } = model;
  const specs = new Map<string, ValueSpec>(valueSpecs(settings).map((spec) => [spec.name, spec]));
  for (const name of names) if (!specs.has(name)) throw unknownValue(name, settings, "look at");
  const tokenizer = options.tokenizer ?? tokenizerOf(model);
  const ids = idsOf(text, tokenizer, settings);
  const { edits, gradientOf, compile = false } = options;
  return await inSession(model, { compile }, async (session) => {
    const step = lookStep(settings, { names, edits, gradientOf });
    const outputs = await session.define(step)({ ids: int32([...ids], [1, ids.length]) });
    const values = names.map((name) => [name, seen(specs.get(name)!, outputs)] as const);
    return {
      ids: [...ids],
      tokens: [...ids].map((id) => tokenText(id, tokenizer)),
      values: Object.fromEntries(values) as Record<N, Seen>,
    };
  });
}

/** Runs `use` with a session over the model's parameters, in float32, and closes it, also after errors. */
export async function inSession<R>(
  { params, settings }: LookedAt,
  { compile = false }: Pick<LookOptions, "compile">,
  use: (session: Session) => Promise<R>,
): Promise<R> {
  const machine = await resolveDevice({ ...settings, compile, dtype: "float32", xla: false });
  const session = await openSession({ params }, machine);
  try {
    return await use(session);
  } finally {
    session.dispose();
  }
}

/** A token's text; without a tokenizer its id. */
export function tokenText(id: number, tokenizer: Tokenizer | undefined): string {
  return tokenizer?.decode([id]) ?? `${id}`;
}

function seen({ name, axes }: ValueSpec, outputs: HostTensors): Seen {
  const { shape, values } = outputs[name]!;
  const gradient = outputs[`gradient of ${name}`]?.values as Float32Array | undefined;
  return { name, dtype: "float32", axes, shape, values: values as Float32Array, ...(gradient && { gradient }) };
}

interface LookStep {
  readonly names: readonly ValueName[];
  readonly edits: Edits | undefined;
  readonly gradientOf: Target | undefined;
}

/** Input: `ids` [1, T]. Outputs: the named values, and `gradient of NAME`. */
function lookStep(settings: ModelSettings, { names, edits, gradientOf }: LookStep): Step {
  const edit = withEdits(edits, settings);
  const wanted = new Set<ValueName>(names);
  const run = (
    params: Parameters,
    ids: tf.Tensor2D,
    found: Map<ValueName, tf.Tensor>,
    shifts?: Map<ValueName, tf.Tensor>,
  ) =>
    forward(params, ids, settings, {
      wants: (name) => wanted.has(name) || (edit.wants?.(name) ?? false),
      at(name, value, positions) {
        const after = edit.wants?.(name) ? edit.at!(name, value, positions) : value;
        if (!wanted.has(name)) return after;
        const shift = shifts?.get(name);
        const shown = shift ? tf.add(after, shift) : after;
        found.set(name, shown);
        return shown;
      },
    }).logits;
  return ({ params }, inputs) => {
    const ids = inputs.ids as tf.Tensor2D;
    const found = new Map<ValueName, tf.Tensor>();
    run(params!, ids, found);
    const outputs: Record<string, tf.Tensor> = Object.fromEntries(found);
    if (gradientOf === undefined || names.length === 0) return { outputs };
    // The gradient of a value is that of zeros which are added to it.
    const zeros = names.map((name) => tf.zerosLike(found.get(name)!));
    const gradients = tf.grads((...shifts: tf.Tensor[]) => {
      const added = new Map(names.map((name, index) => [name, shifts[index]!]));
      return targetOf(run(params!, ids, new Map(), added), ids, gradientOf);
    })(zeros);
    for (const [index, name] of names.entries()) outputs[`gradient of ${name}`] = gradients[index]!;
    return { outputs };
  };
}

function targetOf(logits: tf.Tensor3D, ids: tf.Tensor2D, target: Target): tf.Scalar {
  if (typeof target === "function") return target(logits);
  const [, T, V] = logits.shape;
  if (target === "loss") {
    const before = tf.slice(logits, [0, 0, 0], [1, T - 1, V]);
    return loss(before, tf.slice(ids, [0, 1], [1, T - 1]));
  }
  const { position, token } = target;
  if (!(position >= 0 && position < T && token >= 0 && token < V))
    throw new RangeError(
      `Cannot look at the gradient of a logit: wanted position 0 to ${T - 1} and token 0 to ${V - 1}; found ${position} and ${token}.`,
    );
  return tf.sum(tf.slice(logits, [0, position, token], [1, 1, 1]));
}

/** The tokenizer that a model brings. */
export function tokenizerOf({ tokenizer }: LookedAt): Tokenizer | undefined {
  if (!tokenizer) return undefined;
  return "encode" in tokenizer ? tokenizer : tokenizerFromSpec(tokenizer);
}

/** The ids of a text, or the given ones. @throws {RangeError} if the model cannot take them */
export function idsOf(
  text: string | readonly number[],
  tokenizer: Tokenizer | undefined,
  { blockSize, vocabSize }: ModelSettings,
) {
  if (typeof text === "string" && !tokenizer)
    throw new RangeError(
      "Cannot look at a text: the model does not bring its tokenizer; give one (tokenizer), or ids in place of the text.",
    );
  const ids = typeof text === "string" ? tokenizer!.encode(text) : text;
  if (ids.length < 1 || ids.length > blockSize)
    throw new RangeError(`Cannot look at a text of ${ids.length} tokens: wanted 1 to ${blockSize} (blockSize).`);
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== undefined) throw new RangeError(`Cannot look at the id ${bad}: the model knows 0 to ${vocabSize - 1}.`);
  return ids;
}
