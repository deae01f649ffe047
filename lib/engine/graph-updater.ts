/**
 * In-place updates of a compiled session's variables by TensorFlow's fused operations: AdamW in a pass over
 * memory where the plain formula takes a dozen. graph-session.ts sets it while it traces a step.
 */
import * as tf from "@tensorflow/tfjs-core";
import { capi, DataTypeNumber, type Output, type Pointer } from "./capi.js";
import { fusedEnabled } from "./fused.js";
import type { GraphBuilder } from "./graph.js";
import type { Variable } from "./graph-session.js";
import type { AdamUpdate, InPlaceUpdater, Updated } from "./inplace.js";
import type { State } from "./session.js";

/** What a trace knows when an update is asked for. */
interface UpdaterContext {
  readonly builder: GraphBuilder;
  readonly variables: ReadonlyMap<string, Variable>;
  readonly state: State;
  readonly reads: ReadonlyMap<string, Output>;
  readonly wrap: (output: Output, name: string) => tf.Tensor;
  readonly unwrap: (tensor: tf.Tensor) => Output;
}

/** Updates variables by TensorFlow's fused operations while a step is traced. */
export class GraphUpdater implements InPlaceUpdater {
  private readonly keyOf = new Map<tf.Tensor, string>();
  private readonly standIns = new Map<tf.Tensor, { key: string; operation: Pointer }>();

  private shared: { of: readonly (tf.Tensor | number)[]; outputs: Output[] } | undefined;

  constructor(private readonly context: UpdaterContext) {
    for (const [group, tensors] of Object.entries(context.state)) {
      for (const [name, tensor] of Object.entries(tensors)) this.keyOf.set(tensor, `${group}/${name}`);
    }
  }

  /** The operation that wrote the variable, when `tensor` stands for its new value. */
  operationBehind(key: string, tensor: tf.Tensor): Pointer | undefined {
    const standIn = this.standIns.get(tensor);
    return standIn?.key === key ? standIn.operation : undefined;
  }

  adam(update: AdamUpdate): Updated | undefined {
    const keys = [update.param, update.m, update.v].map((tensor) => this.keyOf.get(tensor));
    if (keys.some((key) => key === undefined)) return undefined;
    const handles = keys.map((key) => this.context.variables.get(key!)!.handle);
    const after = keys.map((key) => this.context.reads.get(key!)!.oper);
    const operation = fusedEnabled() ? this.fused(update, handles, after) : this.tensorflow(update, handles, after);
    const [param, m, v] = keys.map((key) => this.standIn(key!, operation)) as [tf.Tensor, tf.Tensor, tf.Tensor];
    return { param, m, v };
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
    };
    return this.context.builder.add("FolioAdamW", [...handles, ...tensors], setAttributes, after);
  }

  /**
   * TensorFlow's ResourceApplyAdam computes `p −= η √(1 − β2ᵗ) / (1 − β1ᵗ) · m / (√v + ε')`, which is AdamW's for
   * `ε' = ε √(1 − β2ᵗ)`; the decay is taken off before it.
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

  /** `p −= η λ p`, once the gradient is there, when nothing of the step reads p any more. */
  private decay({ param, learningRate, weightDecay }: AdamUpdate, gradient: Output, handle: Output): Pointer {
    const { builder, unwrap } = this.context;
    const amount = unwrap(tf.mul(param, tf.mul(learningRate, weightDecay)));
    return builder.add("AssignSubVariableOp", [handle, amount], setFloat, [gradient.oper]);
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
