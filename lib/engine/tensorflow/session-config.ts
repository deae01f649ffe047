/**
 * Encodes the ConfigProto with which a compiled session is opened: a few fields of TensorFlow's config.proto and
 * rewriter_config.proto.
 */
import { PbfWriter } from "pbf";
import type { ResolvedDtype } from "../number-format.js";
import type { Products } from "../operations/in-place.js";

/** The options that a compiled session is opened with. */
export interface GraphOptions {
  readonly dtype: ResolvedDtype;
  /** Whether operations are grouped into clusters that XLA compiles. */
  readonly xla: boolean;
  readonly device: "cpu" | "cuda";
  /**
   * Whether operations run one after another in one thread, for operations with threads of their own; excludes
   * profiling.
   */
  readonly inOneThread: boolean;
}

const ON = 1;
// ConfigProto → GraphOptions, and its two parts
const GRAPH_OPTIONS = 10;
const OPTIMIZER_OPTIONS = 3;
const REWRITE_OPTIONS = 10;
// OptimizerOptions: at level ON_1 clusters are made; the CPU needs the second option as well.
const GLOBAL_JIT_LEVEL = 5;
const CPU_GLOBAL_JIT = 7;
// RewriterConfig
const AUTO_MIXED_PRECISION_ONEDNN_BFLOAT16 = 31;
// ConfigProto → Experimental
const EXPERIMENTAL = 16;
const EXECUTOR_TYPE = 3;

/**
 * The type to which products are cast while a step is traced (cast-products.ts); undefined if TensorFlow handles them.
 */
export function castProducts({
  dtype,
  device,
}: Pick<GraphOptions, "dtype" | "device">): "float16" | "bfloat16" | undefined {
  return dtype === "float16" || (dtype === "bfloat16" && device === "cuda") ? dtype : undefined;
}

/** The format of the products. Folio's operations, if they are loaded (`fused`), support float32 and bfloat16. */
export function productsOf({
  dtype,
  device,
  fused,
}: Pick<GraphOptions, "dtype" | "device"> & { fused: boolean }): Products {
  if (dtype === "float32") return "float32";
  return dtype === "bfloat16" && device === "cpu" && fused ? "bfloat16" : "shortened";
}

/** A serialized ConfigProto. */
export function sessionConfig(options: GraphOptions): Uint8Array {
  const config = new PbfWriter();
  config.writeMessage(GRAPH_OPTIONS, writeGraphOptions, options);
  config.writeMessage(EXPERIMENTAL, writeExperimental, options);
  return config.finish();
}

function writeGraphOptions({ dtype, xla, device }: GraphOptions, graph: PbfWriter): void {
  if (xla) {
    graph.writeMessage(
      OPTIMIZER_OPTIONS,
      (_, optimizer) => {
        optimizer.writeVarintField(GLOBAL_JIT_LEVEL, ON);
        optimizer.writeVarintField(CPU_GLOBAL_JIT, ON);
      },
      undefined,
    );
  }
  if (dtype === "bfloat16" && device === "cpu") {
    graph.writeMessage(
      REWRITE_OPTIONS,
      (_, rewriter) => rewriter.writeVarintField(AUTO_MIXED_PRECISION_ONEDNN_BFLOAT16, ON),
      undefined,
    );
  }
}

function writeExperimental({ inOneThread }: GraphOptions, experimental: PbfWriter): void {
  if (inOneThread) experimental.writeStringField(EXECUTOR_TYPE, "SINGLE_THREADED_EXECUTOR");
}
