/**
 * Whether the library in use is up to date. A notebook's kernel keeps the build that it loaded first; this file warns
 * when there is a newer one, or when the sources have changed since the last build. It also warns when Folio's own
 * operations are not used, with the reason and what to do.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import Module from "node:module";
import path from "node:path";
import { findCompiler, thisSystem } from "./prerequisites.mjs";
import { layout, operationsReason, operationsStamp, venvStamp } from "./state.mjs";

/** @typedef {{ root: string, loadedMs: number | undefined, warned: string | undefined }} Library */

const restart = "Restart the kernel to use it (in JupyterLab: press 0 twice).";

/**
 * Records when `folio` is first required by this process.
 * @param {string} root the folder of Folio
 * @returns {Library}
 */
export function loadedFrom(root) {
  /** @type {Library} */
  const library = { root, loadedMs: undefined, warned: undefined };
  const loader = /** @type {{ _load: (id: string, ...rest: unknown[]) => unknown }} */ (
    /** @type {unknown} */ (Module)
  );
  const load = loader._load;
  loader._load = function (id, ...rest) {
    if (library.loadedMs === undefined && /^folio(\/|$)/.test(id)) library.loadedMs = Date.now();
    return load.call(this, id, ...rest);
  };
  return library;
}

/**
 * A warning, once per change; undefined if the library is not loaded or is up to date.
 * @param {Library} library
 * @returns {string | undefined}
 */
export function staleness(library) {
  if (library.loadedMs === undefined) return undefined;
  const built = newest(path.join(library.root, "dist"), ".js");
  const changed = changedSources(library.root);
  const warning =
    built.mtimeMs > library.loadedMs
      ? `Warning: this kernel uses an older build of folio; there is a newer one (${built.name}). ${restart}`
      : changed.length > 0
        ? `Warning: ${changed.join(", ")} changed after folio was built; this kernel uses the older build. Build (npm run build; npm run lab does it automatically) and restart the kernel.`
        : undefined;
  const state = warning && `${warning} ${built.mtimeMs}`;
  if (state === library.warned) return undefined;
  library.warned = state;
  return warning;
}

/**
 * Why Folio's own operations are not used, and what to do about it; undefined if they are used or do not apply
 * (TensorFlow for a GPU, or no TensorFlow).
 * @param {import("./state.mjs").Layout} [at]
 * @param {() => string[] | import("./prerequisites.mjs").Missing} [compiler] the compiler, or what is missing
 * @returns {{ reason: string, remedy: string } | undefined}
 */
export function missingOperations(at = layout(), compiler = findCompiler) {
  const venv = venvStamp(at);
  if (!venv || venv.variant === "cuda") return undefined;
  if (process.env.FOLIO_FUSED === "0") return { reason: "FOLIO_FUSED=0 is set", remedy: "Unset FOLIO_FUSED." };
  const command = at.checkout ? "npm run setup" : "npx folio setup";
  const stamp = operationsStamp(at);
  const reason = operationsReason(at);
  if (!reason && !stamp?.failed) return undefined;
  if (!reason) {
    return { reason: `they could not be made: ${stamp?.failed}`, remedy: `${stamp?.remedy}; then \`${command}\`.` };
  }
  const found = compiler();
  if (Array.isArray(found)) return { reason, remedy: `\`${command}\` compiles them.` };
  const install = found.remedy[thisSystem()];
  return {
    reason: `${reason}, and there is no C++ compiler`,
    remedy: `Install one${install ? ` (${install})` : ""}, then \`${command}\`.`,
  };
}

/**
 * The same as a one-line warning.
 * @param {Parameters<typeof missingOperations>} where
 * @returns {string | undefined}
 */
export function operationsWarning(...where) {
  const missing = missingOperations(...where);
  if (!missing) return undefined;
  const reason = missing.reason.replace(/\.$/, "");
  return `Warning: TensorFlow's operations are used instead of Folio's faster ones: ${reason}. ${missing.remedy}`;
}

/** @param {string} folder @param {string} ending */
function newest(folder, ending) {
  let found = { name: "", mtimeMs: 0 };
  for (const file of files(folder, ending)) {
    const { mtimeMs } = fs.statSync(file, { throwIfNoEntry: false }) ?? { mtimeMs: 0 };
    if (mtimeMs > found.mtimeMs) found = { name: path.relative(folder, file), mtimeMs };
  }
  return found;
}

/**
 * Sources whose text differs from what the compiler last read, by the hashes that it keeps; a new date is not a change.
 * @param {string} root
 */
function changedSources(root) {
  const info = path.join(root, "dist", ".tsbuildinfo");
  const { mtimeMs: builtMs } = fs.statSync(info, { throwIfNoEntry: false }) ?? { mtimeMs: Number.POSITIVE_INFINITY };
  const younger = [...files(path.join(root, "lib"), ".ts"), ...files(path.join(root, "scaling"), ".ts")].filter(
    (file) => (fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0) > builtMs,
  );
  if (younger.length === 0) return [];
  const { fileNames, fileInfos } = JSON.parse(fs.readFileSync(info, "utf8"));
  return younger
    .filter((file) => {
      const known = fileInfos[fileNames.indexOf(path.relative(path.dirname(info), file).split(path.sep).join("/"))];
      const hash = createHash("sha256").update(fs.readFileSync(file, "utf8")).digest("hex");
      return (known?.version ?? known) !== hash;
    })
    .map((file) => path.relative(root, file));
}

/** @param {string} folder @param {string} ending @returns {string[]} */
function files(folder, ending) {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => path.join(folder, name));
}
