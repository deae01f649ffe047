#!/usr/bin/env node
/**
 * Set-up: prepares a fresh clone, or a project in which Folio is installed, to run everything. `npm start` and `npm
 * test` call it first; on its own it is `npm run setup`, or `npx folio setup` where Folio is a dependency.
 *
 * Each step is checked first (state.mjs), done only if needed, and finished by writing a stamp. Results are made
 * elsewhere and moved into place, so that set-up can be killed at any moment and called again.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { bundlePage } from "./bundle.mjs";
import { compileVariants, describeFailure, nativeFolder, registeringFlags } from "./native.mjs";
import {
  describeMissing,
  findCompiler,
  findPython,
  missingDisk,
  missingNode,
  missingPlatform,
  thisSystem,
  windowsHelp,
} from "./prerequisites.mjs";
import { endTogether, progress, runCommand, takeLock } from "./process.mjs";
import * as state from "./state.mjs";

/**
 * @typedef {import("./state.mjs").Layout} Layout
 * @typedef {import("./state.mjs").Step} Step
 * @typedef {import("./prerequisites.mjs").Python} Python
 * @typedef {import("./prerequisites.mjs").Missing} Missing
 * @typedef {{ say: (text: string) => void }} Speaker
 * @typedef {{ variants: string[], left: Record<string, string> }} Compiled
 * @typedef {{ at: Layout, lock: import("./process.mjs").Lock, python: Python | undefined, compiler: string[] | Missing,
 * speaker: Speaker, operations?: Promise<Compiled> | undefined }} Job
 */

/**
 * Does the pending steps; with `retry`, also failed steps that would otherwise wait until something changes.
 * @param {{ root?: string, retry?: boolean, print?: (line: string) => void }} [options]
 * @returns {Promise<number>} the exit code
 */
export async function setup({ root = state.packageRoot, retry = false, print = console.log } = {}) {
  const startMs = performance.now();
  const seconds = () => ((performance.now() - startMs) / 1000).toFixed(2);
  if (process.platform === "win32") {
    print(windowsHelp);
    return 1;
  }
  const node = missingNode();
  if (node) {
    print(describeMissing([node]));
    return 1;
  }
  if (retry) forgetFailure(state.layout(root));
  if (state.pendingSteps(state.layout(root)).length === 0) {
    print(`Folio is set up (checked in ${seconds()} s).`);
    return 0;
  }
  const lock = await takeLock(path.join(state.layout(root).cacheDir, "setup.lock"), (pid) =>
    print(`Another set-up is running (process ${pid}); waiting for it.`),
  );
  const release = endTogether(lock);
  try {
    await doPending(root, lock, print);
    print(`Folio is set up (${seconds()} s).`);
    return 0;
  } catch (error) {
    print(error instanceof Error ? error.message : String(error));
    if (process.env.FOLIO_DEBUG === "1") console.error(error);
    return 1;
  } finally {
    release();
  }
}

/** @param {Layout} at */
function forgetFailure(at) {
  const stamp = at.tfjs && state.operationsStamp(at);
  if (stamp && (stamp.failed || Object.keys(stamp.left ?? {}).length > 0)) fs.rmSync(state.operationsPaths(at).stamp);
  const { file } = state.measurementPaths(at);
  if (state.readJson(file)?.failed) fs.rmSync(file);
}

/**
 * @param {string} root
 * @param {import("./process.mjs").Lock} lock
 * @param {(line: string) => void} print
 */
async function doPending(root, lock, print) {
  const first = state.layout(root);
  const pending = state.pendingSteps(first);
  if (pending.length === 0) return;
  fs.mkdirSync(first.cacheDir, { recursive: true });
  fs.writeFileSync(first.logFile, `Folio set-up, ${new Date().toISOString()}, Node ${process.version}\n`);
  const { python, compiler } = prerequisites(first, new Set(pending.map(({ step }) => step)));
  print(first.checkout ? `Setting up Folio in ${root}` : `Setting up Folio; TensorFlow goes to ${first.venv}`);
  /** @type {Promise<Compiled> | undefined} */
  let operations;
  for (const step of state.steps) {
    // Checked again, since a step changes what the next ones find.
    const at = state.layout(root);
    const reason = state.pendingSteps(at).find((entry) => entry.step === step)?.reason;
    if (!reason) continue;
    const shown = progress().start(titles[step](at), reason.replace(`${root}/`, ""));
    try {
      if (step === "binding" && state.operationsReason(at)) {
        // Compiled in parallel with the binding; a failure is handled by the operations' own step.
        operations = compileOperationsBeside({ at, lock, compiler });
        operations.catch(() => {});
      }
      await actions[step]({ at, lock, python, compiler, speaker: shown, operations });
      const left = state.pendingSteps(state.layout(root)).find((entry) => entry.step === step);
      if (left) throw new Error(`The step "${step}" ended, but ${left.reason}. The log: ${at.logFile}`);
    } catch (error) {
      shown.failed();
      await operations?.catch(() => {});
      throw error;
    }
    const stamp = step === "operations" ? state.operationsStamp(at) : undefined;
    const unmeasured = step === "measurement" ? state.readJson(state.measurementPaths(at).file)?.failed : undefined;
    if (stamp?.failed || unmeasured) shown.failed();
    else shown.done();
    for (const line of state.operationsLines(stamp)) print(`    ${line}`);
    if (unmeasured) {
      print(`  Folio uses its default choices: ${unmeasured}. Run \`folio doctor --measure\` to measure again.`);
    }
  }
}

/**
 * Reports everything that is missing at once, before anything is installed.
 * @param {Layout} at
 * @param {Set<Step>} pending
 * @returns {{ python: Python | undefined, compiler: string[] | Missing }}
 */
function prerequisites(at, pending) {
  const platform = missingPlatform();
  if (platform) throw new Error(describeMissing([platform]));
  const python = pending.has("venv") ? findPython() : undefined;
  const needed = pending.has("binding") || pending.has("packages"); // Folio's own operations are optional
  const compiler = needed || pending.has("operations") ? findCompiler() : [];
  const wantedBytes = state.wantedVariant() === "cuda" ? 9e9 : 2.5e9;
  const disk = pending.has("venv") ? missingDisk(at.cacheDir, wantedBytes) : undefined;
  const missing = [python, needed ? compiler : undefined, disk].flatMap((found) =>
    found && "remedy" in found ? [found] : [],
  );
  if (missing.length > 0) throw new Error(describeMissing(missing));
  return { python: /** @type {Python | undefined} */ (python), compiler };
}

/** @type {Record<Step, (at: Layout) => string>} */
const titles = {
  packages: () => "npm packages, as locked",
  venv: (at) => {
    const tensorflow = state.wantedVariant() === "cuda" ? "TensorFlow for CUDA" : "TensorFlow";
    return at.checkout ? `${tensorflow} and Jupyter into .venv` : tensorflow;
  },
  binding: () => "TensorFlow's binding, compiled",
  operations: () => "Folio's own operations, compiled",
  kernel: () => "TypeScript kernel of the notebooks",
  build: () => "TypeScript build",
  measurement: () => "Number formats and matrix products, measured",
};

/** @type {Record<Step, (job: Job) => Promise<void>>} */
const actions = {
  packages: installPackages,
  venv: makeVenv,
  binding: compileBinding,
  operations: compileOperations,
  kernel: registerKernel,
  build,
  measurement: measure,
};

/** @param {Job} job */
async function installPackages({ at, lock, speaker }) {
  if (!at.checkout)
    throw new Error("Folio's npm packages are not installed here: run `npm install` in your project first.");
  const npm = process.env.npm_execpath;
  const [command, ...first] = npm?.endsWith("npm-cli.js") ? [process.execPath, npm] : ["npm"];
  const args = ["ci", "--ignore-scripts", "--include=dev", "--no-fund", "--no-audit", "--loglevel=http"];
  await runCommand(command ?? "npm", [...first, ...args], {
    cwd: at.root,
    logFile: at.logFile,
    lock,
    onLine: (line) => speaker.say(line.replace(/^npm http fetch /, "")),
  });
}

/**
 * Makes a new environment in a folder of its own, and then replaces one link, so that users of the old one are not
 * disturbed.
 * @param {Job} job
 */
async function makeVenv({ at, lock, python, speaker }) {
  if (!python) throw new Error("Python has not been located; run set-up again.");
  const variant = state.wantedVariant();
  const prefix = at.checkout ? "venv" : path.basename(at.venv);
  await removeVenvs(at, prefix);
  const made = path.join(at.cacheDir, `${prefix}-${Date.now().toString(36)}-${process.pid}`);
  const env = pythonEnvironment();
  const options = { logFile: at.logFile, lock, env, onLine: (/** @type {string} */ line) => speaker.say(line) };
  await runCommand(python.path, ["-m", "venv", made], options);
  const pip = ["-m", "pip", "install", "--no-deps", "--no-compile", "--only-binary=:all:", "--progress-bar=off"];
  const files = state.requirementFiles(at.root, at.checkout, variant).flatMap((file) => ["-r", file]);
  await runCommand(path.join(made, "bin", "python"), [...pip, "--disable-pip-version-check", ...files], options);

  const name = state.pythonName(made) ?? "python";
  const sitePackages =
    fs.readdirSync(path.join(made, "lib")).map((dir) => path.join("lib", dir, "site-packages"))[0] ?? "";
  const metadata = fs
    .readdirSync(path.join(made, sitePackages))
    .find((entry) => /^tensorflow(_cpu)?-.*\.dist-info$/.test(entry));
  const [, distribution = "", version = ""] = /^(\w+)-(.*)\.dist-info$/.exec(metadata ?? "") ?? [];
  /** @type {import("./state.mjs").VenvStamp} */
  const stamp = {
    key: state.venvKey(at.root, at.checkout, variant),
    variant,
    python: name,
    pythonVersion: python.version,
    tensorflow: { package: distribution, version, dir: path.join(at.venv, sitePackages, "tensorflow") },
  };
  state.writeWhole(path.join(made, "folio.json"), JSON.stringify(stamp, null, 2));
  swapLink(at.venv, made);
  await removeVenvs(at, prefix);
}

/**
 * Points the link to a new folder; a real folder in its place is moved into the cache to be removed.
 * @param {string} link
 * @param {string} target
 */
export function swapLink(link, target) {
  const beside = `${link}.${process.pid}.tmp`;
  fs.symlinkSync(path.relative(path.dirname(link), target), beside);
  const old = fs.lstatSync(link, { throwIfNoEntry: false });
  if (old && !old.isSymbolicLink()) fs.renameSync(link, `${target}-replaced`);
  fs.renameSync(beside, link);
}

/**
 * Removes incomplete and replaced environments, to which no link points.
 * @param {Layout} at
 * @param {string} prefix
 */
async function removeVenvs(at, prefix) {
  const current = fs.existsSync(at.venv) ? fs.realpathSync(at.venv) : undefined;
  const stillLinked = (/** @type {string} */ dir) => current !== undefined && fs.realpathSync(dir) === current;
  for (const name of fs.readdirSync(at.cacheDir)) {
    const dir = path.join(at.cacheDir, name);
    if (name.startsWith(`${prefix}-`) && !fs.lstatSync(dir).isSymbolicLink() && !stillLinked(dir)) {
      await fs.promises.rm(dir, { recursive: true, force: true });
    }
  }
}

/** The environment without the user's Python settings that would install packages elsewhere. */
function pythonEnvironment() {
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, PYTHONNOUSERSITE: "1" };
  for (const name of ["PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME", "PYTHONPATH"]) {
    delete env[name];
  }
  return env;
}

/**
 * Compiles tfjs-node's C++ files against the TensorFlow of the environment. A process of its own loads the result
 * before it is moved into place.
 * @param {Job} job
 */
async function compileBinding({ at, lock, compiler, speaker }) {
  const venv = state.venvStamp(at);
  const { tfjs, nodeApiHeaders } = at;
  if (!venv || !tfjs || !nodeApiHeaders)
    throw new Error("Cannot compile the binding: TensorFlow or tfjs-node is missing.");
  if (!Array.isArray(compiler)) throw new Error(describeMissing([compiler]));
  const [command = "c++", ...commandArgs] = compiler;
  const { dir, file, stamp } = state.bindingPaths(at);
  const work = path.join(dir, `.work-${process.pid}`);
  fs.mkdirSync(work, { recursive: true });
  for (const name of fs.readdirSync(dir)) {
    if (name.startsWith(".work-") && path.join(dir, name) !== work)
      fs.rmSync(path.join(dir, name), { recursive: true });
  }
  const options = { cwd: tfjs, logFile: at.logFile, lock };
  const include = [path.join(nodeApiHeaders, "include"), "..", ".", path.join(venv.tensorflow.dir, "include")];
  const flags = ["-std=c++17", "-O2", "-fPIC", "-DNAPI_VERSION=8", ...include.map((each) => `-I${each}`)];
  const sources = fs.readdirSync(path.join(tfjs, "binding")).filter((name) => name.endsWith(".cc"));
  speaker.say(sources.join(", "));
  const objects = await Promise.all(
    sources.map(async (name) => {
      const object = path.join(work, `${name}.o`);
      await runCommand(command, [...commandArgs, ...flags, "-c", path.join("binding", name), "-o", object], options);
      return object;
    }),
  );
  const made = path.join(work, "tfjs_binding.node");
  await runCommand(
    command,
    [...commandArgs, "-shared", ...objects, "-o", made, ...linkFlags(venv.tensorflow.dir)],
    options,
  );
  speaker.say("loading it");
  await runCommand(process.execPath, ["-e", "require(process.argv[1])", made], options);
  fs.renameSync(made, file);
  const bytes = fs.statSync(file).size;
  const content = { key: state.bindingKey(at, venv), bytes, tensorflowDir: venv.tensorflow.dir };
  state.writeWhole(stamp, JSON.stringify(content, null, 2));
  fs.rmSync(work, { recursive: true });
}

/**
 * Compiles Folio's own operations for the CPU. They are optional: if they do not compile or do not work, that is
 * recorded, and TensorFlow's operations compute the same. A process of its own tests each before they are moved into
 * place.
 * @param {Job} job
 */
async function compileOperations(job) {
  const { at, compiler } = job;
  const venv = state.venvStamp(at);
  if (!venv) throw new Error("Cannot compile the operations: TensorFlow is missing.");
  const { sources, file, stamp } = state.operationsPaths(at);
  const made = operationsBeside(at);
  const noted = {
    key: state.operationsKey(at, venv),
    sources: state.hash(sources.map(state.readText)),
    compilers: state.compilersHere(),
  };
  const note = (/** @type {object} */ more) => state.writeWhole(stamp, JSON.stringify({ ...noted, ...more }, null, 2));
  try {
    const compiled = await (job.operations ?? compileOperationsBeside(job));
    const tried = await tryVariants(job, made, compiled);
    const bytes = fs.statSync(made).size;
    fs.renameSync(made, file);
    note({ bytes, ...tried });
  } catch (error) {
    fs.rmSync(file, { force: true });
    const failure = Array.isArray(compiler) ? describeFailure(error, compiler) : noCompiler(compiler);
    note({ bytes: 0, failed: failure.what, remedy: failure.remedy });
  } finally {
    fs.rmSync(path.dirname(made), { recursive: true, force: true });
  }
}

/** @param {Missing} missing */
function noCompiler({ what, remedy }) {
  const system = thisSystem();
  const command = system === "unknown" ? "install g++ or clang++" : `\`${remedy[system]}\``;
  return { what: `there is no ${what.replace(/^a /, "")}`, remedy: `${command}, then \`npm run setup\`` };
}

/**
 * Tests each operation of each variant that this processor supports. A variant that fails is left out, unless it is the
 * only one.
 * @param {Job} job
 * @param {string} library
 * @param {Compiled} compiled
 * @returns {Promise<Compiled>}
 */
async function tryVariants({ at, lock, speaker }, library, { variants, left }) {
  const attempt = (/** @type {string[]} */ ...names) => {
    const args = [path.join(state.packageRoot, "bin", "operations.mjs"), at.root, library, ...names];
    return runCommand(process.execPath, args, { logFile: at.logFile, lock });
  };
  speaker.say("testing them");
  try {
    await attempt();
    return { variants, left };
  } catch (error) {
    /** @type {Record<string, string>} */
    const failed = {};
    for (const name of variants) {
      await attempt(name).catch((reason) => {
        failed[name] = `it does not work here (${describeFailure(reason, ["it"]).what})`;
      });
    }
    const working = variants.filter((name) => !failed[name]);
    if (working.length === 0) throw error;
    return { variants: working, left: { ...left, ...failed } };
  }
}

/**
 * The path of the library in a folder of this set-up, beside its final place.
 * @param {Layout} at
 */
function operationsBeside(at) {
  const { file } = state.operationsPaths(at);
  return path.join(path.dirname(file), `.operations-${process.pid}`, path.basename(file));
}

/**
 * @param {Pick<Job, "at" | "lock" | "compiler"> & { speaker?: Speaker }} job
 * @returns {Promise<Compiled>}
 */
async function compileOperationsBeside({ at, lock, compiler, speaker }) {
  if (!Array.isArray(compiler)) throw new Error(describeMissing([compiler]));
  const tensorflow = state.venvStamp(at)?.tensorflow.dir ?? "";
  const made = operationsBeside(at);
  const folder = path.dirname(made);
  fs.mkdirSync(folder, { recursive: true });
  for (const name of fs.readdirSync(path.dirname(folder))) {
    const file = path.join(path.dirname(folder), name);
    // From a killed set-up, and from versions that had one library per processor.
    if ((name.startsWith(".operations-") && file !== folder) || /^folio_ops-[0-9a-f]{8}\./.test(name))
      fs.rmSync(file, { recursive: true, force: true });
  }
  const run = (/** @type {string} */ command, /** @type {string[]} */ args) =>
    runCommand(command, args, { logFile: at.logFile, lock });
  const say = (/** @type {string} */ what) => speaker?.say(what);
  const { made: variants, objects, left } = await compileVariants({ root: at.root, compiler, folder, run, say });
  say("registration with TensorFlow");
  const [command = "c++", ...first] = compiler;
  const registering = path.join(folder, "ops.o");
  const source = path.join(nativeFolder(at.root), "tensorflow", "ops.cc");
  const include = `-I${path.join(tensorflow, "include")}`;
  await run(command, [...first, ...registeringFlags(variants), include, "-c", source, "-o", registering]);
  await run(command, [...first, "-shared", registering, ...objects, "-o", made, ...linkFlags(tensorflow)]);
  return { variants: variants.map(({ name }) => name), left };
}

/**
 * macOS has no `-l:name`, and resolves Node's own symbols when the binding is loaded.
 * @param {string} dir the folder of TensorFlow's libraries
 */
export function linkFlags(dir, platform = process.platform) {
  const names = ["tensorflow_cc", "tensorflow_framework"];
  const runPath = ["-Xlinker", "-rpath", "-Xlinker", dir];
  if (platform === "darwin") {
    return ["-undefined", "dynamic_lookup", ...names.map((name) => path.join(dir, `lib${name}.2.dylib`)), ...runPath];
  }
  return [`-L${dir}`, ...names.map((name) => `-l:lib${name}.so.2`), ...runPath];
}

/** @param {Job} job */
async function registerKernel({ at }) {
  const text = state.kernelText(at);
  if (!text) throw new Error("Cannot register the kernel: tslab is not installed.");
  state.writeWhole(state.kernelFile(at), text);
}

/** @param {Job} job */
async function build({ at, lock, speaker }) {
  if (!at.checkout)
    throw new Error("This package was packed without its build: run `npm run build` before `npm pack`.");
  const startedAt = new Date();
  const sources = state.sourceFiles(at.root);
  const dist = path.join(at.root, "dist");
  removeGhosts(dist, new Set(sources));
  const absent = sources.some((file) => !fs.existsSync(path.join(dist, file.replace(/\.ts$/, ".js"))));
  // Otherwise the incremental build would assume that the files exist.
  if (absent) fs.rmSync(path.join(dist, ".tsbuildinfo"), { force: true });
  const typescript = state.findPackage(at.root, "typescript");
  if (!typescript) throw new Error("Cannot build: typescript is not installed.");
  const tsc = path.join(typescript, "bin", "tsc");
  await runCommand(process.execPath, [tsc, "-p", path.join(at.root, "tsconfig.build.json")], {
    cwd: at.root,
    logFile: at.logFile,
    lock,
    onLine: speaker.say,
  });
  await bundlePage(at.root);
  // Dated at the start, so that a file saved meanwhile counts as newer.
  state.writeWhole(state.buildStampFile(at), JSON.stringify({ key: state.hash(sources) }));
  fs.utimesSync(state.buildStampFile(at), startedAt, startedAt);
}

/**
 * Measures training steps for a second or two, during set-up rather than in a training run: no other work of Folio's is
 * running, and a run's numbers do not depend on it. It is optional, like the operations.
 * @param {Job} job
 */
async function measure({ at, lock, speaker }) {
  const { file, program } = state.measurementPaths(at);
  try {
    await runCommand(process.execPath, [program], { cwd: at.root, logFile: at.logFile, lock, onLine: speaker.say });
  } catch (error) {
    state.writeWhole(file, JSON.stringify({ failed: firstError(error) }));
  }
}

/**
 * The first error of a failed program, which says more than its command.
 * @param {unknown} error
 */
function firstError(error) {
  const [how = "", next = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  return /^ *\| (?:Error: )?(?:Cannot measure: )?(.*?)\.?$/.exec(next)?.[1] ?? how;
}

/**
 * Removes from dist the files of deleted sources.
 * @param {string} dist
 * @param {Set<string>} sources
 */
function removeGhosts(dist, sources) {
  if (!fs.existsSync(dist)) return;
  for (const name of fs.readdirSync(dist, { recursive: true, encoding: "utf8" })) {
    const [, base] = /^(.*?)\.(js|js\.map|d\.ts)$/.exec(name) ?? [];
    if (base && !sources.has(`${base}.ts`)) fs.rmSync(path.join(dist, name), { force: true });
  }
}

/**
 * Builds dist if sources are newer, under the lock; for the command line in a checkout.
 * @param {Layout} at
 */
export async function buildIfNeeded(at) {
  if (!at.checkout || !state.buildReason(at)) return;
  const lock = await takeLock(path.join(at.cacheDir, "setup.lock"));
  const release = endTogether(lock);
  try {
    if (state.buildReason(at)) await build({ at, lock, python: undefined, compiler: [], speaker: { say: () => {} } });
  } finally {
    release();
  }
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await setup({ retry: process.argv.includes("--retry") });
}
