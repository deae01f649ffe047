/**
 * In-place updates of a compiled session's variables: AdamW in one pass over memory instead of the plain formula's
 * dozen, and keys and values written into the cache without copying it. compiled-session.ts installs it while it traces
 * a step.
 */
import * as tf from "@tensorflow/tfjs-core";
import { fusedEnabled } from "../operations/fused.js";
import type {
  AdamUpdate,
  Attended,
  CacheAttention,
  InPlaceUpdater,
  ProductChoice,
  Products,
  Updated,
  WritingStep,
  Written,
} from "../operations/in-place.js";
import type { State } from "../steps.js";
import { capi, DataTypeNumber, type Output, type Pointer } from "../tensorflow/c-api.js";
import type { GraphBuilder } from "./graph-builder.js";
import type { Variable } from "./variables.js";

/** The trace's context of an update. */
interface UpdaterContext {
  readonly products: Products;
  readonly multipliers: ProductChoice;
  readonly builder: GraphBuilder;
  readonly variables: ReadonlyMap<string, Variable>;
  readonly state: State;
  readonly reads: ReadonlyMap<string, Output>;
  readonly wrap: (output: Output, name: string) => tf.Tensor;
  readonly unwrap: (tensor: tf.Tensor) => Output;
}

/** A Switch: its second output exists only if the condition is true, its first only if it is false. */
interface Gate {
  readonly value: tf.Tensor;
  readonly when: tf.Tensor;
  readonly oper: Pointer;
}

/** Updates variables by TensorFlow's fused operations while a step is traced. */
export class GraphUpdater implements InPlaceUpdater {
  private readonly keyOf = new Map<tf.Tensor, string>();
  private readonly standIns = new Map<tf.Tensor, { key: string; operation: Pointer }>();

  private lastGate: Gate | undefined;
  private shared: { of: readonly (tf.Tensor | number)[]; outputs: Output[] } | undefined;

  constructor(private readonly context: UpdaterContext) {
    for (const [group, tensors] of Object.entries(context.state)) {
      for (const [name, tensor] of Object.entries(tensors)) this.keyOf.set(tensor, `${group}/${name}`);
    }
  }

  get products(): Products {
    return this.context.products;
  }

  get multipliers(): ProductChoice {
    return this.context.multipliers;
  }

  /** The operation that updates the variable, if `tensor` stands for its new value. */
  operationBehind(key: string, tensor: tf.Tensor): Pointer | undefined {
    const standIn = this.standIns.get(tensor);
    return standIn?.key === key ? standIn.operation : undefined;
  }

  adam(update: AdamUpdate): Updated | undefined {
    const keys = [update.param, update.m, update.v].map((tensor) => this.keyOf.get(tensor));
    if (keys.some((key) => key === undefined)) return undefined;
    const handles = keys.map((key) => this.context.variables.get(key!)!.handle);
    const after = keys.map((key) => this.context.reads.get(key!)!.oper);
    const done = fusedEnabled() ? this.fused(update, handles, after) : this.gated(update, handles, after);
    const [param, m, v] = keys.map((key) => this.standIn(key!, done)) as [tf.Tensor, tf.Tensor, tf.Tensor];
    return { param, m, v };
  }

  /**
   * Conditional update by TensorFlow's operations, which take no condition: they depend on a value that exists only if
   * it is true.
   */
  private gated(update: AdamUpdate, handles: Output[], after: Pointer[]): Pointer {
    if (!update.when) return this.tensorflow(update, handles, after);
    const gate = this.gate(update.gradientScale, update.when);
    const gradientScale = this.context.wrap({ oper: gate, index: 1 }, "Switch");
    return this.eitherWay(gate, this.tensorflow({ ...update, gradientScale }, handles, after));
  }

  /** A value that exists only if `when` is true; otherwise TensorFlow does not run the operations that depend on it. */
  private gate(value: tf.Tensor, when: tf.Tensor): Pointer {
    if (this.lastGate?.value !== value || this.lastGate.when !== when) {
      const { builder, unwrap } = this.context;
      this.lastGate = { value, when, oper: builder.add("Switch", [unwrap(value), unwrap(when)]) };
    }
    return this.lastGate.oper;
  }

  /** An operation that completes when `operation` has run, or when its gate was closed. */
  private eitherWay(gate: Pointer, operation: Pointer): Pointer {
    const { builder } = this.context;
    const ran = builder.add("Identity", [{ oper: gate, index: 1 }], undefined, [operation]);
    const outputs = [
      { oper: gate, index: 0 },
      { oper: ran, index: 0 },
    ];
    return builder.add("Merge", [outputs]);
  }

  /** Folio's own operation: scale, moments, decay and step in one pass. */
  private fused(update: AdamUpdate, handles: Output[], after: Pointer[]): Pointer {
    const { gradient, gradientScale, learningRate, biasCorrection1, biasCorrection2 } = update;
    const tensors = [gradient, gradientScale, learningRate, biasCorrection1, biasCorrection2].map(this.context.unwrap);
    const setAttributes = (description: Pointer) => {
      capi().setAttrFloat(description, "beta1", update.beta1);
      capi().setAttrFloat(description, "beta2", update.beta2);
      capi().setAttrFloat(description, "epsilon", update.epsilon);
      capi().setAttrFloat(description, "weight_decay", update.weightDecay);
      capi().setAttrInt(description, "conditions", update.when ? 1 : 0);
    };
    const conditions = update.when ? [this.context.unwrap(update.when)] : [];
    return this.context.builder.add("FolioAdamW", [...handles, ...tensors, conditions], setAttributes, after);
  }

  /**
   * TensorFlow's ResourceApplyAdam computes `p −= η √(1 − β2ᵗ) / (1 − β1ᵗ) · m / (√v + ε')`, which is AdamW's update for
   * `ε' = ε √(1 − β2ᵗ)`; the weight decay is applied before it.
   */
  private tensorflow(update: AdamUpdate, handles: Output[], after: Pointer[]): Pointer {
    const { builder, unwrap } = this.context;
    const gradient = unwrap(tf.mul(update.gradient, update.gradientScale));
    const before = update.weightDecay > 0 ? [...after, this.decay(update, gradient, handles[0]!)] : after;
    return builder.add("ResourceApplyAdam", [...handles, ...this.scalars(update), gradient], undefined, before);
  }

  /** β1ᵗ, β2ᵗ, η, β1, β2, ε', the same nodes for all parameters of a step. */
  private scalars(update: AdamUpdate): Output[] {
    const { biasCorrection1, biasCorrection2, learningRate, beta1, beta2, epsilon } = update;
    const of = [biasCorrection1, biasCorrection2, learningRate, beta1, beta2, epsilon];
    if (!this.shared || this.shared.of.some((value, index) => value !== of[index])) {
      const tensors = [
        tf.sub(1, update.biasCorrection1),
        tf.sub(1, update.biasCorrection2),
        update.learningRate,
        tf.scalar(update.beta1),
        tf.scalar(update.beta2),
        tf.mul(tf.sqrt(update.biasCorrection2), update.epsilon),
      ];
      this.shared = { of, outputs: tensors.map(this.context.unwrap) };
    }
    return this.shared.outputs;
  }

  /** `p −= η λ p`, after the gradient is computed, when the step no longer reads p. */
  private decay({ param, learningRate, weightDecay }: AdamUpdate, gradient: Output, handle: Output): Pointer {
    const { builder, unwrap } = this.context;
    const amount = unwrap(tf.mul(param, tf.mul(learningRate, weightDecay)));
    return builder.add("AssignSubVariableOp", [handle, amount], setFloat, [gradient.oper]);
  }

  write(cache: tf.Tensor4D, value: tf.Tensor4D, position: tf.Tensor): tf.Tensor | undefined {
    const key = this.keyOf.get(cache);
    if (key === undefined) return undefined;
    const { builder, variables, unwrap, reads } = this.context;
    const [B, H, T, D] = [cache.shape[0], ...value.shape.slice(1)] as [number, number, number, number];
    const whole = value.shape[0] === B ? value : tf.broadcastTo(value, [B, H, T, D]);
    const begin = tf.mul(position, tf.tensor1d([0, 0, 1, 0], "int32"));
    const end = tf.add(begin, tf.tensor1d([0, 0, T, 0], "int32"));
    const inputs = [begin, end, tf.tensor1d([1, 1, 1, 1], "int32"), whole].map(unwrap);
    const setAttributes = (description: Pointer) => {
      // One bit per axis that is taken completely: all but the third.
      for (const name of ["begin_mask", "end_mask"]) capi().setAttrInt(description, name, 0b1011);
    };
    const handle = variables.get(key)!.handle;
    const after = [reads.get(key)!.oper];
    const operation = builder.add("ResourceStridedSliceAssign", [handle, ...inputs], setAttributes, after);
    return this.standIn(key, operation);
  }

  attend({ keys, values, qkv, position }: CacheAttention): Attended | undefined {
    const [first, second] = [keys, values].map((tensor) => this.keyOf.get(tensor));
    if (first === undefined || second === undefined) return undefined;
    const { builder, variables, unwrap, wrap } = this.context;
    const handles = [first, second].map((key) => variables.get(key)!.handle);
    // No other operation of a step reads a cache before this one, so no read has to come first.
    const operation = builder.add("FolioCacheAttention", [...handles, unwrap(qkv), unwrap(position)]);
    const out = wrap({ oper: operation, index: 0 }, "FolioCacheAttention") as tf.Tensor2D;
    const [newKeys, newValues] = [first, second].map((key) => this.standIn(key, operation) as tf.Tensor4D);
    return { out, keys: newKeys!, values: newValues! };
  }

  writingStep(step: WritingStep): Written | undefined {
    const { weights, keys, values } = step;
    const names = [...weights, ...keys, ...values].map((tensor) => this.keyOf.get(tensor));
    if (names.some((name) => name === undefined)) return undefined;
    const { builder, variables, unwrap, wrap } = this.context;
    const handles = names.map((name) => variables.get(name!)!.handle);
    const lists = [handles.slice(0, weights.length), handles.slice(weights.length)];
    const inputs = [...lists, ...[step.ids, step.position, step.last].map(unwrap)];
    const operation = builder.add("FolioWrite", inputs, (description) => {
      capi().setAttrInt(description, "layers", keys.length);
      capi().setAttrInt(description, "vocabulary", step.vocabSize);
      capi().setAttrBool(description, "bias", step.bias ? 1 : 0);
      capi().setAttrBool(description, "tanh", step.gelu === "tanh" ? 1 : 0);
    });
    const logits = wrap({ oper: operation, index: 0 }, "FolioWrite") as tf.Tensor2D;
    const caches = names.slice(weights.length).map((name) => this.standIn(name!, operation) as tf.Tensor4D);
    return { logits, cache: { keys: caches.slice(0, keys.length), values: caches.slice(keys.length) } };
  }

  private standIn(key: string, operation: Pointer): tf.Tensor {
    const { builder, variables, wrap } = this.context;
    const { handle } = variables.get(key)!;
    const tensor = wrap({ oper: builder.add("ReadVariableOp", [handle], setFloat, [operation]), index: 0 }, key);
    this.standIns.set(tensor, { key, operation });
    return tensor;
  }
}

const setFloat = (description: Pointer) => capi().setAttrType(description, "dtype", DataTypeNumber.float32);
