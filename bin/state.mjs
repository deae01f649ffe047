/**
 * The state of set-up: the places of its parts, and its pending steps, determined only from stamp files and
 * modification times. No process is started and nothing is changed, so that a set-up with nothing to do takes
 * milliseconds.
 *
 * A stamp is written last, so a killed step has none. It has a hash of the step's inputs.
 */
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { kernelSpec } from "./kernel.mjs";
import { nativeSources, nativeVariants, registeringFlags, variantFlags } from "./native.mjs";
import { compilerCandidates } from "./prerequisites.mjs";

/**
 * @typedef {"packages" | "venv" | "binding" | "operations" | "kernel" | "build" | "measurement"} Step
 * @typedef {{ step: Step, reason: string }} Pending
 * @typedef {"cpu" | "cuda"} Variant
 * @typedef {{
 *   root: string, checkout: boolean, cacheDir: string, venv: string, logFile: string,
 *   tfjs: string | undefined, nodeApiHeaders: string | undefined, tslab: string | undefined
 * }} Layout
 * @typedef {{
 *   key: string, variant: Variant, python: string, pythonVersion: string,
 *   tensorflow: { package: string, version: string, dir: string }
 * }} VenvStamp
 * @typedef {{ key: string, bytes: number, tensorflowDir: string }} BindingStamp
 * @typedef {{
 *   key: string, sources: string, bytes: number, compilers: string, failed?: string, remedy?: string,
 *   variants?: string[], left?: Record<string, string>
 * }} OperationsStamp
 */

export const packageRoot = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/**
 * A module of the built package.
 * @param {string} name its path in dist
 * @throws {Error} if it is not built
 */
export async function built(name) {
  const file = path.join(packageRoot, "dist", name);
  if (!fs.existsSync(file)) throw new Error(`${file} is missing; \`npm run build\` makes it`);
  return await import(pathToFileURL(file).href);
}

/** The steps, in order. */
export const steps = /** @type {const} */ ([
  "packages",
  "venv",
  "binding",
  "operations",
  "kernel",
  "build",
  "measurement",
]);

/**
 * The places of all parts. In a checkout the Python environment is `.venv`; where Folio is installed as a package it is
 * in the user's cache, because npm replaces node_modules and the project's own `.venv` is not Folio's.
 * @param {string} [root]
 * @returns {Layout}
 */
export function layout(root = packageRoot) {
  const checkout = fs.existsSync(path.join(root, "package-lock.json"));
  const cacheDir = checkout ? path.join(root, ".cache") : path.join(userCacheDir(), "folio");
  return {
    root,
    checkout,
    cacheDir,
    venv: checkout ? path.join(root, ".venv") : path.join(cacheDir, `venv-${venvKey(root, false, "cpu").slice(0, 8)}`),
    logFile: path.join(cacheDir, "setup.log"),
    tfjs: findPackage(root, "@tensorflow/tfjs-node-gpu"),
    nodeApiHeaders: findPackage(root, "node-api-headers"),
    tslab: findPackage(root, "tslab"),
  };
}

function userCacheDir() {
  if (process.env.XDG_CACHE_HOME) return process.env.XDG_CACHE_HOME;
  return path.join(os.homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache");
}

/**
 * The folder of a package, by Node's rule (every `node_modules` from `root` upwards). Node's own resolution caches
 * failures, which would hide packages that set-up has just installed.
 * @param {string} root
 * @param {string} name
 */
export function findPackage(root, name) {
  for (let dir = root; ; dir = path.dirname(dir)) {
    const candidate = path.join(dir, "node_modules", name);
    if (fs.existsSync(path.join(candidate, "package.json"))) return candidate;
    if (dir === path.dirname(dir)) return undefined;
  }
}

/**
 * The pending steps, each with the reason.
 * @param {Layout} [at]
 * @returns {Pending[]}
 */
export function pendingSteps(at = layout()) {
  const reasons = {
    packages: packagesReason(at),
    venv: venvReason(at),
    binding: bindingReason(at),
    operations: operationsReason(at),
    kernel: kernelReason(at),
    build: buildReason(at),
    measurement: measurementReason(at),
  };
  return steps.flatMap((step) => (reasons[step] ? [{ step, reason: reasons[step] }] : []));
}

// ---- packages

/**
 * npm writes `node_modules/.package-lock.json` at the very end of an installation, so the packages that it lists exist.
 * Packages for other platforms may be missing; extra packages may be present.
 * @param {Layout} at
 */
export function packagesReason(at) {
  if (!at.checkout) {
    if (at.tfjs && at.nodeApiHeaders) return undefined;
    return "@tensorflow/tfjs-node-gpu or node-api-headers is not installed";
  }
  const wanted = lockedPackages(path.join(at.root, "package-lock.json"));
  const found = lockedPackages(path.join(at.root, "node_modules", ".package-lock.json"));
  if (!wanted) return "package-lock.json cannot be read";
  if (!found) return "node_modules is missing or incomplete";
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === "") continue;
    const installed = found[name];
    if (!installed) {
      if (entry.optional || entry.devOptional || entry.peer) continue;
      return `${name} is missing`;
    }
    if (installed.version !== entry.version || installed.integrity !== entry.integrity) {
      return `${name} is ${installed.version ?? "a link"}, not ${entry.version ?? "a link"}`;
    }
    if (!fs.existsSync(path.join(at.root, name))) return `${name} is missing`;
  }
  return undefined;
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, integrity?: string, optional?: boolean, devOptional?: boolean, peer?:
 * boolean }> | undefined}
 */
function lockedPackages(file) {
  return readJson(file)?.packages;
}

// ---- venv

/**
 * The CUDA wheel if there is an NVIDIA GPU (Linux x86-64, including WSL2); `FOLIO_TENSORFLOW=cpu|cuda` overrides it.
 */
/** @returns {Variant} */
export function wantedVariant() {
  const asked = process.env.FOLIO_TENSORFLOW;
  if (asked === "cpu" || asked === "cuda") return asked;
  if (process.platform !== "linux" || process.arch !== "x64") return "cpu";
  const wsl = fs.existsSync("/dev/dxg") && fs.existsSync("/usr/lib/wsl/lib/libcuda.so.1");
  return wsl || fs.readdirSync("/dev").some((name) => /^nvidia\d+$/.test(name)) ? "cuda" : "cpu";
}

/**
 * The requirement files of a variant. Only a checkout, which has the notebooks, needs Jupyter.
 * @param {string} root
 * @param {boolean} checkout
 * @param {Variant} variant
 */
export function requirementFiles(root, checkout, variant) {
  const tensorflow = variant === "cuda" ? "requirements-cuda.txt" : "requirements-tensorflow.txt";
  return [...(checkout ? ["requirements.txt"] : []), tensorflow].map((name) => path.join(root, name));
}

/**
 * @param {string} root
 * @param {boolean} checkout
 * @param {Variant} variant
 */
export function venvKey(root, checkout, variant) {
  return hash([process.platform, process.arch, ...requirementFiles(root, checkout, variant).map(readText)]);
}

/**
 * @param {Layout} at
 * @returns {VenvStamp | undefined}
 */
export function venvStamp(at) {
  return readJson(path.join(at.venv, "folio.json"));
}

/** @param {Layout} at */
export function venvReason(at) {
  const stamp = venvStamp(at);
  if (!stamp) return `${at.venv} is missing or incomplete`;
  if (stamp.key !== venvKey(at.root, at.checkout, stamp.variant)) return "its requirements changed";
  // Never changed back to the CPU wheel, since a login node without a GPU may share the folder with nodes that have
  // one.
  if (wantedVariant() === "cuda" && stamp.variant === "cpu")
    return "an NVIDIA GPU was found, but TensorFlow is for the CPU";
  if (pythonName(at.venv) !== stamp.python) return "its Python is missing or changed";
  const dir = path.join(at.venv, "lib", stamp.python, "site-packages", "tensorflow");
  if (stamp.tensorflow.dir !== dir) return "the folder was moved";
  const metadata = `${stamp.tensorflow.package}-${stamp.tensorflow.version}.dist-info`;
  if (!fs.existsSync(path.join(dir, "..", metadata))) return "TensorFlow was replaced";
  return undefined;
}

/**
 * The base name of a venv's interpreter, `python3.12`; undefined if the link is broken.
 * @param {string} venv
 */
export function pythonName(venv) {
  try {
    return path.basename(fs.realpathSync(path.join(venv, "bin", "python")));
  } catch {
    return undefined;
  }
}

// ---- binding

/** @param {Layout} at */
export function bindingPaths(at) {
  const dir = path.join(at.tfjs ?? "", "lib", "napi-v8");
  return { dir, file: path.join(dir, "tfjs_binding.node"), stamp: path.join(dir, "folio.json") };
}

/**
 * @param {Layout} at
 * @param {VenvStamp} venv
 */
export function bindingKey(at, venv) {
  const versions = [at.tfjs, at.nodeApiHeaders].map((dir) => readJson(path.join(dir ?? "", "package.json"))?.version);
  return hash([...versions, JSON.stringify(venv.tensorflow), process.platform, process.arch]);
}

/** @param {Layout} at */
export function bindingReason(at) {
  if (!at.tfjs) return "@tensorflow/tfjs-node-gpu is not installed";
  const venv = venvStamp(at);
  if (!venv) return "there is no TensorFlow to link with";
  const paths = bindingPaths(at);
  const stamp = /** @type {BindingStamp | undefined} */ (readJson(paths.stamp));
  if (!stamp) return "it is missing or incomplete";
  if (stamp.key !== bindingKey(at, venv)) return "it was compiled for another TensorFlow or tfjs";
  if (fs.statSync(paths.file, { throwIfNoEntry: false })?.size !== stamp.bytes) return "its file is missing or changed";
  return undefined;
}

// ---- operations

/**
 * Folio's own TensorFlow operations: the sources are in the package, the library is beside the binding. One library
 * serves all processors of an architecture, so that machines with a shared folder share it.
 * lib/engine/tensorflow/own-operations.ts uses the same path.
 * @param {Layout} at
 */
export function operationsPaths(at) {
  const { dir } = bindingPaths(at);
  const name = `folio_ops-${process.arch}`;
  return { sources: nativeSources(at.root), file: path.join(dir, `${name}.so`), stamp: path.join(dir, `${name}.json`) };
}

/**
 * @param {Layout} at
 * @returns {OperationsStamp | undefined}
 */
export function operationsStamp(at) {
  return readJson(operationsPaths(at).stamp);
}

/**
 * @param {Layout} at
 * @param {VenvStamp} venv
 */
export function operationsKey(at, venv) {
  const variants = nativeVariants();
  const flags = [...variants.flatMap(variantFlags), ...registeringFlags(variants)];
  return hash([...operationsPaths(at).sources.map(readText), ...flags, JSON.stringify(venv.tensorflow)]);
}

/**
 * A failure is recorded too, since Folio runs without them and the same attempt would fail again. With another compiler
 * they are tried again.
 * @param {Layout} at
 */
export function operationsReason(at) {
  const venv = venvStamp(at);
  if (!at.tfjs || !venv) return "there is no TensorFlow to link with";
  if (venv.variant === "cuda") return undefined;
  const stamp = operationsStamp(at);
  if (!stamp) return "they are missing or incomplete";
  if (stamp.key !== operationsKey(at, venv)) return "their sources or TensorFlow changed";
  const incomplete = stamp.failed !== undefined || Object.keys(stamp.left ?? {}).length > 0;
  const compilers = compilersHere();
  if (incomplete && compilers !== "" && stamp.compilers !== compilers) return "the compiler has changed";
  if (stamp.failed) return undefined;
  return fs.statSync(operationsPaths(at).file, { throwIfNoEntry: false })?.size === stamp.bytes
    ? undefined
    : "their file is missing or changed";
}

/**
 * Messages about operations that were not made, or not in all variants: the reason and the remedy.
 * @param {OperationsStamp | undefined} stamp
 */
export function operationsLines(stamp) {
  if (stamp?.failed) {
    return [
      `TensorFlow's operations are used instead, which are slower but otherwise the same. Reason: ${stamp.failed}. Remedy: ${stamp.remedy}.`,
    ];
  }
  return Object.entries(stamp?.left ?? {}).map(([name, reason]) => `Without the variant ${name}: ${reason}.`);
}

/** The compilers that set-up would try, with the size and date of their files; empty if there are none. */
export function compilersHere() {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  return compilerCandidates()
    .flatMap((candidate) => {
      const command = candidate.trim().split(/\s+/)[0] ?? "";
      const places = command.includes(path.sep) ? [command] : folders.map((folder) => path.join(folder, command));
      const found = places.map((file) => fs.statSync(file, { throwIfNoEntry: false })).find((file) => file?.isFile());
      return found ? [`${candidate} ${found.size} ${found.mtimeMs}`] : [];
    })
    .join(", ");
}

// ---- kernel

/** @param {Layout} at */
export function kernelFile(at) {
  return path.join(at.venv, "share", "jupyter", "kernels", "tslab", "kernel.json");
}

/** @param {Layout} at */
export function kernelText(at) {
  return at.tslab ? `${JSON.stringify(kernelSpec(at.root), null, 2)}\n` : undefined;
}

/** @param {Layout} at */
export function kernelReason(at) {
  if (!at.checkout) return undefined;
  const text = kernelText(at);
  if (!text) return "tslab is not installed";
  return readText(kernelFile(at)) === text ? undefined : "it is not registered, or is out of date";
}

// ---- build

/**
 * The TypeScript sources that `dist` is made from, relative to the root.
 * @param {string} root
 */
export function sourceFiles(root) {
  /** @type {string[]} */
  const found = [];
  for (const top of ["lib", "configs", "scaling"]) {
    if (!fs.existsSync(path.join(root, top))) continue;
    for (const file of fs.readdirSync(path.join(root, top), { recursive: true, encoding: "utf8" })) {
      found.push(path.join(top, file));
    }
  }
  for (const set of fs.existsSync(path.join(root, "data")) ? fs.readdirSync(path.join(root, "data")) : []) {
    const dir = path.join("data", set);
    if (!fs.statSync(path.join(root, dir)).isDirectory()) continue;
    for (const file of fs.readdirSync(path.join(root, dir))) found.push(path.join(dir, file));
  }
  return found.filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts")).sort();
}

/** @param {Layout} at */
export function buildStampFile(at) {
  return path.join(at.cacheDir, "build.json");
}

/** @param {Layout} at */
export function buildReason(at) {
  const entry = path.join(at.root, "dist", "lib", "index.js");
  if (!at.checkout) return fs.existsSync(entry) ? undefined : "dist is missing from the package";
  const stamp = fs.statSync(buildStampFile(at), { throwIfNoEntry: false });
  if (!stamp) return "it is missing or incomplete";
  const sources = sourceFiles(at.root);
  if (readJson(buildStampFile(at))?.key !== hash(sources)) return "source files were added or removed";
  for (const file of [...sources, "tsconfig.json", "tsconfig.build.json"]) {
    if (fs.statSync(path.join(at.root, file)).mtimeMs > stamp.mtimeMs) return `${file} is newer`;
  }
  const absent = sources.find((file) => !fs.existsSync(path.join(at.root, "dist", file.replace(/\.ts$/, ".js"))));
  return absent ? `dist lacks ${absent}` : undefined;
}

// ---- measurement

/**
 * The file of the measurement on which the choice of number formats and matrix products is based, and the program that
 * measures. The file is named after everything that the measurement depends on, so that machines with a shared folder
 * have one each. (The variant of the operations follows from the processor, the library and FOLIO_TARGET.)
 * @param {Layout} at
 */
export function measurementPaths(at) {
  const library = process.env.FOLIO_FUSED === "0" ? "none" : (hashOfFile(operationsPaths(at).file) ?? "none");
  const threads = process.env.TF_NUM_INTRAOP_THREADS || String(os.availableParallelism());
  const tensorflow = venvStamp(at)?.tensorflow?.version;
  const key = hash([os.cpus()[0]?.model, instructionSets(), process.env.FOLIO_TARGET, library, tensorflow, threads]);
  return {
    file: path.join(at.cacheDir, `measured-${key.slice(0, 16)}.json`),
    program: path.join(at.root, "dist", "lib", "bench", "measure-process.js"),
  };
}

/**
 * Not pending if it cannot be stored: the default choices then apply, and `folio doctor` says so. A failure is
 * recorded.
 * @param {Layout} at
 */
export function measurementReason(at) {
  const venv = venvStamp(at);
  if (!venv || venv.variant === "cuda") return undefined;
  const { file, program } = measurementPaths(at);
  if (!fs.existsSync(program) || !isWritable(at.cacheDir)) return undefined;
  return readJson(file) ? undefined : "there is none for this processor and these operations";
}

/**
 * The first processor's instruction sets, as the system lists them. Only the first 16 kB of /proc/cpuinfo are read,
 * since reading all of it takes long on a large machine.
 */
function instructionSets() {
  try {
    const descriptor = fs.openSync("/proc/cpuinfo", "r");
    const buffer = Buffer.alloc(16_384);
    let end = 0;
    for (let count = -1; count !== 0 && end < buffer.length; end += count)
      count = fs.readSync(descriptor, buffer, end, buffer.length - end, null);
    fs.closeSync(descriptor);
    return /^(?:flags|Features)\s*:.*$/m.exec(buffer.toString("utf8", 0, end))?.[0];
  } catch {
    return undefined;
  }
}

/** @param {string} folder */
function isWritable(folder) {
  try {
    fs.accessSync(folder, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

// ---- small things

/** @param {string} file */
function hashOfFile(file) {
  try {
    return crypto.createHash("sha256").update(fs.readFileSync(file)).digest("hex");
  } catch {
    return undefined;
  }
}

/** @param {(string | undefined)[]} parts */
export function hash(parts) {
  return crypto.createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

/** @param {string} file */
export function readText(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/**
 * The parsed file; undefined if it is missing or not JSON, such as a file cut short by a kill.
 * @param {string} file
 */
export function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * Writes a file atomically, by renaming a complete one.
 * @param {string} file
 * @param {string} text
 */
export function writeWhole(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const beside = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(beside, text);
  fs.renameSync(beside, file);
}
