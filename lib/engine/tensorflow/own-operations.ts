/**
 * Loads the library of Folio's own operations (native/ops.cc), which set-up compiled beside TensorFlow's binding. It is
 * optional: whatever is wrong with it, the same is computed by TensorFlow's operations, and `folio doctor` says why.
 */
import crypto from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import koffi from "koffi";
import { packageRoot } from "../../host/package.js";

const require = createRequire(import.meta.url);

/**
 * Whether they are loaded. Not relied on is that set-up has run here: where machines share a folder it may have run on
 * another one, or before the sources were updated. To load instructions that the processor lacks would end the process.
 * @param tensorflow the path of TensorFlow's shared library
 * @param folder where set-up put them
 */
export function loadOperations(tensorflow: string, folder = operationsFolder()): boolean {
  if (process.env.FOLIO_FUSED === "0") return false;
  try {
    const name = path.join(folder, `folio_ops-${hash([processor()]).slice(0, 8)}`);
    const stamp = JSON.parse(fs.readFileSync(`${name}.json`, "utf8")) as { sources: string; bytes: number };
    const native = path.join(packageRoot(), "lib", "engine", "native");
    const files = fs.readdirSync(native).sort();
    const sources = files.map((file) => fs.readFileSync(path.join(native, file), "utf8"));
    if (fs.statSync(`${name}.so`).size !== stamp.bytes || stamp.sources !== hash(sources)) return false;
    return loadLibrary(tensorflow, `${name}.so`);
  } catch {
    return false;
  }
}

function operationsFolder(): string {
  return path.join(path.dirname(require.resolve("@tensorflow/tfjs-node-gpu/package.json")), "lib", "napi-v8");
}

/** TensorFlow remembers what it loaded: a second time costs nothing. */
function loadLibrary(tensorflow: string, file: string): boolean {
  const library = koffi.load(tensorflow);
  const status = library.func("void* TF_NewStatus()")();
  try {
    library.func("void* TF_LoadLibrary(const char*, void*)")(file, status);
    return library.func("int TF_GetCode(void*)")(status) === 0;
  } finally {
    library.func("void TF_DeleteStatus(void*)")(status);
  }
}

/** As bin/state.mjs has it, which names the file by it. */
function processor(): string {
  return /^(?:flags|Features)\s*:.*$/m.exec(readStart("/proc/cpuinfo"))?.[0] ?? os.cpus()[0]?.model ?? process.arch;
}

/** The first 16 kB: of /proc/cpuinfo the first processors, where all of them take long on a large machine. */
function readStart(file: string): string {
  if (!fs.existsSync(file)) return "";
  const descriptor = fs.openSync(file, "r");
  try {
    const buffer = Buffer.alloc(16_384);
    let end = 0;
    for (let count = -1; count !== 0 && end < buffer.length; end += count)
      count = fs.readSync(descriptor, buffer, end, buffer.length - end, null);
    return buffer.toString("utf8", 0, end);
  } finally {
    fs.closeSync(descriptor);
  }
}

function hash(parts: string[]): string {
  return crypto.createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
