/**
 * Loads the library of Folio's own operations (native/), which set-up compiled beside TensorFlow's binding. It is
 * optional: if it cannot be used, TensorFlow's operations compute the same, and `folio doctor` says why.
 */
import crypto from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import koffi from "koffi";
import { packageRoot } from "../../host/package.js";

const require = createRequire(import.meta.url);

/** Set-up's notes on the library (bin/state.mjs). */
interface Stamp {
  sources: string;
  bytes: number;
  variants: string[];
  left?: Record<string, string>;
}

let variant: string | undefined;

/** The variant of Folio's operations in use, an instruction set of the processor; undefined if they are not loaded. */
export function operationsVariant(): string | undefined {
  return variant;
}

/**
 * Loads them, if they can be used, and returns whether they are loaded. Set-up may have run on another machine or
 * before the sources changed, so both are checked. The best variant for this processor is used, or the one that
 * FOLIO_TARGET names.
 * @param tensorflow the path of TensorFlow's shared library
 * @param folder where set-up put them
 * @throws {Error} when FOLIO_TARGET names a variant that cannot be used here
 */
export function loadOperations(tensorflow: string, folder = operationsFolder()): boolean {
  if (process.env.FOLIO_FUSED === "0") return false;
  const wanted = process.env.FOLIO_TARGET;
  const stamp = readStamp(folder);
  const file = libraryFile(folder);
  if (!stamp || !loadIntoTensorFlow(tensorflow, file)) {
    if (!wanted) return false;
    throw cannotUse(
      wanted,
      "Folio's operations are not compiled, or not from the current sources: run `npm run setup`",
    );
  }
  const library = koffi.load(file);
  const runnable = String(library.func("const char* folio_runnable()")()).split(" ");
  const usable = runnable.filter((name) => stamp.variants.includes(name));
  const name = wanted ?? usable.at(-1);
  if (name === undefined) return false;
  if (!usable.includes(name)) throw cannotUse(name, whyNot(name, stamp, usable));
  if (!library.func("bool folio_choose(const char*)")(name)) return false;
  variant = name;
  return true;
}

function cannotUse(name: string, reason: string): Error {
  return new Error(`Cannot use FOLIO_TARGET=${name}: ${reason}.`);
}

function whyNot(name: string, { variants, left }: Stamp, usable: string[]): string {
  const others = `available are ${usable.join(", ")}`;
  if (left?.[name]) return `set-up left it out: ${left[name]}; ${others}`;
  if (variants.includes(name)) return `this processor lacks its instructions; ${others}`;
  return `there is no such variant for ${process.arch}; ${others}`;
}

/** Undefined if the library is missing, damaged, or not made from the current sources. */
function readStamp(folder: string): Stamp | undefined {
  try {
    const file = libraryFile(folder);
    const stamp = JSON.parse(fs.readFileSync(file.replace(/so$/, "json"), "utf8")) as Stamp;
    const native = path.join(packageRoot(), "lib", "engine", "native");
    const files = fs
      .readdirSync(native, { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(h|cc)$/.test(name));
    const sources = files.sort().map((name) => fs.readFileSync(path.join(native, name), "utf8"));
    return fs.statSync(file).size === stamp.bytes && stamp.sources === hash(sources) ? stamp : undefined;
  } catch {
    return undefined;
  }
}

function libraryFile(folder: string): string {
  return path.join(folder, `folio_ops-${process.arch}.so`);
}

function operationsFolder(): string {
  return path.join(path.dirname(require.resolve("@tensorflow/tfjs-node-gpu/package.json")), "lib", "napi-v8");
}

/** Loads the library into TensorFlow, which ignores a second request. */
function loadIntoTensorFlow(tensorflow: string, file: string): boolean {
  const library = koffi.load(tensorflow);
  const status = library.func("void* TF_NewStatus()")();
  try {
    library.func("void* TF_LoadLibrary(const char*, void*)")(file, status);
    return library.func("int TF_GetCode(void*)")(status) === 0;
  } finally {
    library.func("void TF_DeleteStatus(void*)")(status);
  }
}

function hash(parts: string[]): string {
  return crypto.createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
