/**
 * Matrix products in 16 bits: both factors are cast before the product, and the result is cast back, as in PyTorch's
 * autocast. trace.ts uses it while a step is traced. It is not used for bfloat16 on a CPU: there Folio's operations
 * round their factors themselves, or TensorFlow rewrites the graph, which also keeps values between products in 16
 * bits. TensorFlow has no such rewrite for bfloat16 on a GPU, and the one for float16 on a CPU
 * (auto_mixed_precision_cpu, TensorFlow 2.21) crashes in a training step.
 */
import { capi, DataTypeNumber, type Output } from "../tensorflow/c-api.js";
import type { GraphBuilder, SetAttributes } from "./graph-builder.js";

/** TensorFlow's numbers of the types. */
const SHORT = { float16: 19, bfloat16: 14 } as const;
const PRODUCTS = new Set(["MatMul", "BatchMatMul", "BatchMatMulV2"]);

/** The casts of one trace. Tensors are identified by their ids in TensorFlow.js. */
export class ProductCasts {
  // A tensor used in several products, such as a weight, is cast once.
  private readonly factors = new Map<number, Output>();

  constructor(
    private readonly builder: GraphBuilder,
    private readonly dtype: keyof typeof SHORT,
  ) {}

  /** Whether this is a product of two float32 tensors. */
  covers(type: string, ids: readonly number[]): boolean {
    const isFloat = (id: number) => capi().outputType(this.builder.outputOf(id)) === DataTypeNumber.float32;
    return PRODUCTS.has(type) && ids.every(isFloat);
  }

  /** Adds the product of the 16-bit factors, and returns it in float32. */
  add(type: string, ids: readonly number[], setAttributes: SetAttributes): Output {
    const oper = this.builder.add(
      type,
      ids.map((id) => this.factor(id)),
      setAttributes,
    );
    return this.cast({ oper, index: 0 }, DataTypeNumber.float32);
  }

  private factor(id: number): Output {
    const cast = this.factors.get(id) ?? this.cast(this.builder.outputOf(id), SHORT[this.dtype]);
    this.factors.set(id, cast);
    return cast;
  }

  private cast(output: Output, to: number): Output {
    const oper = this.builder.add("Cast", [output], (description) => capi().setAttrType(description, "DstT", to));
    return { oper, index: 0 };
  }
}
