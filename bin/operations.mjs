#!/usr/bin/env node
/**
 * Tests Folio's own operations: `node bin/operations.mjs ROOT LIBRARY [VARIANT …]` loads them into TensorFlow and runs
 * each once, in every variant that this processor supports or in the named ones, on numbers with known results. It is a
 * program of its own, so that a crash of the library ends only this process. Set-up runs it before it installs the
 * library, and `folio doctor` to check that it works. It prints the variants that run here, the best one last.
 */
import { createRequire } from "node:module";
import path from "node:path";
import util from "node:util";
import { findPackage } from "./state.mjs";

/**
 * @param {string} root
 * @param {string} file the library of operations
 * @param {string[]} asked variants; those that this processor does not support are skipped
 */
function tryOperations(root, file, asked) {
  const require = createRequire(path.join(root, "package.json"));
  // As in lib/engine/tensorflow/load.ts: Node 23 removed a function that tfjs-node 4.22 calls.
  /** @type {any} */ (util).isNullOrUndefined ??= (/** @type {unknown} */ value) => value == null;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  const tf = require(findPackage(root, "@tensorflow/tfjs-node-gpu") ?? "@tensorflow/tfjs-node-gpu");
  const library = load(require(findPackage(root, "koffi") ?? "koffi"), file);
  const runnable = String(library.func("const char* folio_runnable()")()).split(" ");
  const choose = library.func("bool folio_choose(const char*)");
  for (const variant of runnable) {
    if (asked.length > 0 && !asked.includes(variant)) continue;
    if (!choose(variant)) throw new Error(`the variant ${variant} cannot be chosen`);
    try {
      tryVariant(tf, variant);
    } catch (error) {
      throw new Error(`${variant}: ${error instanceof Error ? error.message : error}`);
    }
  }
  console.log(runnable.join(" "));
}

/**
 * @typedef {{
 *   tf: any,
 *   types: Record<"float" | "int32", number>,
 *   attribute: (name: string, type: "BOOL" | "FLOAT" | "INT" | "SHAPE" | "STRING" | "TYPE", value: unknown) => object,
 *   run: (type: string, attributes: object[], inputs: object[], outputs: number) => any[],
 *   check: (what: string, tensor: any, wanted: readonly number[]) => void
 * }} Tools
 */

/**
 * @param {any} tf
 * @returns {Tools}
 */
function toolsOf(tf) {
  const backend = tf.backend();
  const { binding } = backend;
  return {
    tf,
    types: { float: binding.TF_FLOAT, int32: binding.TF_INT32 },
    attribute: (name, type, value) => ({ name, type: binding[`TF_ATTR_${type}`], value }),
    run: (type, attributes, inputs, outputs) => backend.executeMultipleOutputs(type, attributes, inputs, outputs),
    check(what, tensor, wanted) {
      const found = Array.from(/** @type {Float32Array} */ (tensor.dataSync()));
      const differs = (/** @type {number} */ x, /** @type {number} */ i) => !(Math.abs(x - (wanted[i] ?? 0)) < 1e-4);
      if (found.length !== wanted.length || found.some(differs)) {
        throw new Error(`${what} gives ${found}, not ${wanted}`);
      }
    },
  };
}

/**
 * @param {any} tf
 * @param {string} variant
 */
function tryVariant(tf, variant) {
  const tools = toolsOf(tf);
  tryElementwise(tools);
  tryProducts(tools);
  tryAttention(tools);
  tryDecoding(tools);
  tryVariables(tools, variant);
}

/** Layer normalization, GELU, sums of squares, and rows of a table. */
function tryElementwise(/** @type {Tools} */ { tf, attribute, run, check }) {
  const x = tf.tensor2d([[1, 3]]);
  const weight = tf.tensor1d([1, 2]);
  const [y, mean, inverse] = run("FolioLayerNorm", [], [x, weight], 3);
  check("FolioLayerNorm", y, [-1, 2]);
  check(
    "FolioLayerNormGrad",
    run("FolioLayerNormGrad", [attribute("added", "INT", 0)], [y, x, weight, mean, inverse], 2)[1],
    [1, 2],
  );
  for (const [tanh, value, slope] of /** @type {const} */ ([
    [false, 0.841345, 1.083316],
    [true, 0.841192, 1.082964],
  ])) {
    const [y, dy] = run("FolioGelu", [attribute("tanh", "BOOL", tanh)], [tf.scalar(1)], 2);
    check("FolioGelu", y, [value]);
    check("FolioGelu's slope", dy, [slope]);
  }
  check("FolioTimes", run("FolioTimes", [], [x, y], 1)[0], [-1, 6]);
  const matrix = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  check("FolioSquares", run("FolioSquares", [attribute("N", "INT", 2)], [x, y], 1)[0], [15]);
  check("FolioRows", run("FolioRows", [], [matrix, tf.tensor1d([1, 0], "int32")], 1)[0], [3, 4, 1, 2]);
  check("FolioAddRows", run("FolioAddRows", [], [matrix, tf.tensor1d([1], "int32"), x], 1)[0], [1, 2, 4, 7]);
}

/** Matrix products with what is fused into them. */
function tryProducts(/** @type {Tools} */ { tf, attribute, run, check }) {
  const [x, y] = [tf.tensor2d([[1, 3]]), tf.tensor2d([[-1, 2]])];
  const alone = attribute("added", "INT", 0);
  const plain = attribute("transpose_b", "BOOL", false);
  const turned = attribute("transpose_b", "BOOL", true);
  const straight = attribute("transpose_a", "BOOL", false);
  const matrix = tf.tensor2d([1, 2, 3, 4], [2, 2]);
  for (const of16Bits of [false, true]) {
    const bf16 = attribute("bf16", "BOOL", of16Bits);
    check("FolioMatMul", run("FolioMatMul", [straight, plain, bf16, alone], [x, matrix], 1)[0], [10, 14]);
    const added = attribute("added", "INT", 1);
    check("FolioMatMul", run("FolioMatMul", [straight, turned, bf16, added], [x, matrix, x], 1)[0], [8, 18]);
    const gelu = attribute("tanh", "BOOL", false);
    const one = [tf.ones([1, 1]), tf.ones([1, 1])];
    const [activated, steepness] = run("FolioMatMulGelu", [straight, plain, bf16, gelu, alone], one, 2);
    check("FolioMatMulGelu", activated, [0.841345]);
    check("FolioMatMulGelu's slope", steepness, [1.083316]);
    const how = [attribute("transposed", "BOOL", false), bf16, attribute("scaled", "INT", 1)];
    const [dx, dw] = run("FolioLinearGrad", how, [x, y, matrix, x], 2);
    check("FolioLinearGrad", dx, [7, 45]);
    check("FolioLinearGrad", dw, [-1, -3, 2, 6]);
  }
}

/** Dropout, causal attention and its gradient. */
function tryAttention(/** @type {Tools} */ { tf, attribute, run, check }) {
  const [kept, half] = [attribute("rate", "FLOAT", 0), attribute("rate", "FLOAT", 0.5)];
  const [scale, use] = [attribute("scale", "FLOAT", 2), attribute("use", "INT", 1)];
  const key = tf.tensor1d([3, 4], "int32");
  check("FolioDropout", run("FolioDropout", [half, scale, use], [tf.ones([1, 6]), key], 1)[0], [2, 2, 2, 2, 0, 2]);
  const one = [attribute("batch", "INT", 1), attribute("heads", "INT", 1)];
  const heads = [...one, kept, scale, use, attribute("dropped", "INT", 0)];
  const qkv = tf.tensor2d([0, 0, 1, 0, 0, 3], [2, 3]);
  const [out, sums] = run("FolioAttention", heads, [qkv], 2);
  check("FolioAttention", out, [1, 2]);
  const dqkv = run("FolioAttentionGrad", heads, [tf.ones([2, 1]), qkv, out, sums], 1)[0];
  check("FolioAttentionGrad", dqkv, [0, 0, 1.5, 0, 0, 0.5]);
  const dropping = [...one, kept, scale, use, attribute("dropped", "INT", 1)]; // with rate 0, all are kept, times 2
  check("FolioAttention", run("FolioAttention", dropping, [qkv, key], 2)[0], [2, 4]);
}

/** Products with few rows, weights in 16 bits, and the draw of a token. */
function tryDecoding(/** @type {Tools} */ { tf, types, attribute, run, check }) {
  const rows = tf.tensor2d([[1, 2]]);
  // 1, −2 and 3, 0.5 as bfloat16, the first of a pair in the lower half
  const pairs = tf.tensor2d([[0xc0003f80 | 0], [0x3f004040]], [2, 1], "int32");
  check("FolioWiden", run("FolioWiden", [], [pairs], 1)[0], [1, -2, 3, 0.5]);
  for (const [weight, type] of /** @type {const} */ ([
    [tf.tensor2d([1, -2, 3, 0.5], [2, 2]), types.float],
    [pairs, types.int32],
  ])) {
    for (const [transposed, wanted] of /** @type {[boolean, number[]][]} */ ([
      [false, [17, 19]],
      [true, [7, 24]],
    ])) {
      const how = [attribute("transposed", "BOOL", transposed), attribute("T", "TYPE", type)];
      check("FolioFewRows", run("FolioFewRows", how, [rows, weight, tf.tensor1d([10, 20])], 1)[0], wanted);
    }
  }

  const drawn = [tf.tensor2d([[0.5]]), tf.scalar(1), tf.scalar(1)];
  check("FolioDraw", run("FolioDraw", [attribute("top_k", "INT", 1)], [tf.tensor2d([[1, 3]]), ...drawn], 1)[0], [1]);
}

/**
 * What changes a variable in place: the cache of attention, and AdamW.
 * @param {Tools} tools
 * @param {string} variant
 */
function tryVariables({ tf, types, attribute, run, check }, variant) {
  const float = attribute("dtype", "TYPE", types.float);
  /** @type {(name: string, value: any) => any} */
  const variable = (name, value) => {
    const names = [attribute("shared_name", "STRING", `${variant} ${name}`), attribute("container", "STRING", "")];
    const [handle] = run("VarHandleOp", [float, attribute("shape", "SHAPE", value.shape), ...names], [], 1);
    run("AssignVariableOp", [float], [handle, value], 0);
    return handle;
  };
  const caches = ["keys", "values"].map((name) => variable(name, tf.zeros([1, 1, 3, 1])));
  for (const [position, row, wanted] of /** @type {const} */ ([
    [0, [1, 0, 4], 4],
    [1, [2, Math.log(3) / 2, 8], 7],
  ])) {
    const inputs = [...caches, tf.tensor2d([row]), tf.scalar(position, "int32")];
    check("FolioCacheAttention", run("FolioCacheAttention", [], inputs, 1)[0], [wanted]);
  }

  const variables = [1, 0, 0].map((value, i) => variable(`folio${i}`, tf.scalar(value)));
  const settings = Object.entries({ beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weight_decay: 0.1 });
  const attributes = [
    ...settings.map(([name, value]) => attribute(name, "FLOAT", value)),
    attribute("conditions", "INT", 0),
  ];
  const numbers = [1, 1, 0.1, 0.1, 0.05].map((value) => tf.scalar(value)); // gradient, clip, rate, corrections
  run("FolioAdamW", attributes, [...variables, ...numbers], 0);
  check("FolioAdamW", run("ReadVariableOp", [float], [variables[0]], 1)[0], [0.89]);
}

/**
 * @param {typeof import("koffi")} koffi
 * @param {string} file
 */
function load(koffi, file) {
  const { sharedObjects } = /** @type {{ sharedObjects: string[] }} */ (process.report.getReport());
  const tensorflow = sharedObjects.find((each) => /libtensorflow_cc[.\d]*\.(so|dylib)/.test(each));
  const library = koffi.load(tensorflow ?? null);
  const status = library.func("void* TF_NewStatus()")();
  library.func("void* TF_LoadLibrary(const char*, void*)")(file, status);
  if (library.func("int TF_GetCode(void*)")(status) === 0) return koffi.load(file);
  throw new Error(String(library.func("const char* TF_Message(void*)")(status)));
}

try {
  const [root = "", file = "", ...variants] = process.argv.slice(2);
  tryOperations(root, file, variants);
} catch (error) {
  console.error(`Error: ${error instanceof Error ? error.message.replaceAll("\n", " ") : error}`);
  process.exitCode = 1;
}
