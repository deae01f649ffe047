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
  /** The number of replicas in this process, each on a device of its own. */
  readonly replicas: number;
  /** This process's number among those of a cluster (server.ts). */
  readonly rank?: number | undefined;
}

/** TensorFlow's name of a process of a cluster. */
export const taskName = (rank: number) => `/job:worker/replica:0/task:${rank}`;

const ON = 1;
// ConfigProto
const DEVICE_COUNT = 1;
const INTER_OP_THREADS = 5;
const DEVICE_FILTERS = 4;
const ALLOW_SOFT_PLACEMENT = 7;
const USE_PER_SESSION_THREADS = 9;
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
const COLLECTIVE_GROUP_LEADER = 1;
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
  if (options.replicas > 1) writeReplicas(options, config);
  // A session has its own process's devices; only collective operations know of the others.
  if (options.rank !== undefined) config.writeStringField(DEVICE_FILTERS, `/job:worker/task:${options.rank}`);
  config.writeMessage(GRAPH_OPTIONS, writeGraphOptions, options);
  config.writeMessage(EXPERIMENTAL, writeExperimental, options);
  return config.finish();
}

/** A CPU is divided into one device per replica. On a GPU, operations that have no kernel there are placed on the CPU. */
function writeReplicas({ replicas, device }: GraphOptions, config: PbfWriter): void {
  if (device === "cuda") {
    config.writeBooleanField(ALLOW_SOFT_PLACEMENT, true);
    return;
  }
  config.writeMessage(
    DEVICE_COUNT,
    (_, entry) => {
      entry.writeStringField(1, "CPU");
      entry.writeVarintField(2, replicas);
    },
    undefined,
  );
  config.writeVarintField(INTER_OP_THREADS, 2 * replicas);
  config.writeBooleanField(USE_PER_SESSION_THREADS, true);
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

function writeExperimental({ inOneThread, rank }: GraphOptions, experimental: PbfWriter): void {
  if (rank !== undefined) experimental.writeStringField(COLLECTIVE_GROUP_LEADER, taskName(0));
  if (inOneThread) experimental.writeStringField(EXECUTOR_TYPE, "SINGLE_THREADED_EXECUTOR");
}
