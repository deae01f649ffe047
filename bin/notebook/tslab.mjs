/**
 * Extends tslab's compiler, which then keeps source maps, finds Folio from any folder, and survives an installation of
 * packages while the kernel runs. tslab has no settings for these, so it is given a TypeScript with three functions
 * replaced. executor.mjs uses it.
 */
import fs from "node:fs";
import Module, { createRequire, SourceMap } from "node:module";
import path from "node:path";
import { findPackage } from "../state.mjs";

/** @typedef {(line: number, column: number) => { line: number, column: number } | undefined} Origin both from 0 */

/**
 * The folders searched for packages that the notebook's folder lacks: Folio's own folder, whose node_modules also has
 * tfjs, and, where Folio is installed as a dependency, the folders above.
 * @param {string} root
 */
export function openTslab(root) {
  const own = createRequire(path.join(root, "package.json"));
  const entry = createRequire(own.resolve("tslab/package.json"));
  const name = entry.resolve("@tslab/typescript-for-tslab");
  const given = entry(name);
  /** The last program that tslab compiled, and the source map of the last text that became a CommonJS module. */
  const state = { program: /** @type {any} */ (undefined), origin: /** @type {Origin | undefined} */ (undefined) };
  const ts = {
    ...given,
    /** @param {string[]} files @param {any} options @param {any} system @param {any[]} rest */
    createWatchCompilerHost(files, options, system, ...rest) {
      const types = typeRoots(options.typeRoots, [root, path.dirname(own.resolve("tslab/package.json"))]);
      const more = { ...options, inlineSourceMap: true, typeRoots: types };
      lendPackages(system, root);
      return openHost(given.createWatchCompilerHost(files, more, system, ...rest));
    },
    /** @param {any} host */
    createWatchProgram(host) {
      const created = host.afterProgramCreate;
      host.afterProgramCreate = (/** @type {any} */ builder) => {
        state.program = builder.getProgram();
        created(builder);
      };
      return given.createWatchProgram(host);
    },
    /** @param {string} text @param {any} options */
    transpileModule(text, options) {
      const { code, map } = withoutMap(text);
      const compilerOptions = { ...options.compilerOptions, sourceMap: true };
      const made = given.transpileModule(code, { ...options, compilerOptions });
      state.origin = chain(JSON.parse(made.sourceMapText), map);
      return { ...made, outputText: made.outputText.replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n") };
    },
  };
  const cached = entry.cache[name];
  if (cached) cached.exports = ts;
  findFromAnywhere(own);
  return { require: entry, ts, state };
}

/**
 * Separates two timers of the compiler, since tslab has room for only one: that of a new program, which tslab fires
 * itself, and that of newly installed packages, which becomes a real timer.
 * @param {any} host
 */
function openHost(host) {
  const { setTimeout: startUpdate, clearTimeout: stopUpdate } = host;
  /** @type {Set<unknown>} */
  const others = new Set();
  host.setTimeout = (
    /** @type {() => void} */ callback,
    /** @type {number} */ ms,
    /** @type {unknown[]} */ ...rest
  ) => {
    if (callback.name === "updateProgramWithWatchStatus") return startUpdate(callback, ms, ...rest);
    const timer = setTimeout(() => {
      others.delete(timer);
      callback();
    }, ms);
    timer.unref();
    others.add(timer);
    return timer;
  };
  host.clearTimeout = (/** @type {any} */ timer) => {
    if (others.delete(timer)) clearTimeout(timer);
    else stopUpdate(timer);
  };
  return host;
}

/**
 * Makes the compiler see Folio's packages in the node_modules of the notebook's folder, if that folder lacks them.
 * Elsewhere it could read their types but not name them in the declarations that tslab keeps for each cell.
 * @param {any} system
 * @param {string} root
 */
function lendPackages(system, root) {
  const cwd = process.cwd();
  const lent = `${path.join(cwd, "node_modules")}${path.sep}`;
  const isCheckout = fs.existsSync(path.join(root, "package-lock.json"));
  /** @param {string} file */
  const real = (file) => {
    if (!file.startsWith(lent)) return file;
    const [, name = "", rest = ""] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(file.slice(lent.length)) ?? [];
    // In a checkout all packages are in Folio's own node_modules, and must not be found a second time below it.
    if (name === "folio" && isCheckout && rest.startsWith("/node_modules")) return file;
    if (findPackage(cwd, name)) return file;
    const found = name === "folio" ? root : findPackage(root, name);
    return found ? found + rest : file;
  };
  for (const ask of ["readFile", "fileExists", "directoryExists", "readDirectory", "getDirectories"]) {
    const given = system[ask];
    system[ask] = (/** @type {string} */ file, /** @type {unknown[]} */ ...more) =>
      given.call(system, real(file), ...more);
  }
  const { realpath, watchFile } = system;
  system.realpath = (/** @type {string} */ file) => (real(file) === file ? realpath.call(system, file) : file);
  system.watchFile = (
    /** @type {string} */ file,
    /** @type {(...given: unknown[]) => void} */ callback,
    /** @type {unknown[]} */ ...more
  ) =>
    watchFile.call(
      system,
      real(file),
      (/** @type {unknown} */ _, /** @type {unknown[]} */ ...event) => callback(file, ...event),
      ...more,
    );
}

/**
 * The type declarations of Node: those of the notebook's folder if it has some, else Folio's.
 * @param {string[]} given
 * @param {string[]} folders
 */
function typeRoots(given, folders) {
  const withNode = (/** @type {string} */ dir) => fs.existsSync(path.join(dir, "node", "package.json"));
  const all = [...given];
  for (let [dir, ...rest] = folders; dir && !all.some(withNode); [dir, ...rest] = rest) {
    for (let at = dir; ; at = path.dirname(at)) {
      all.push(path.join(at, "node_modules", "@types"));
      if (at === path.dirname(at)) break;
    }
  }
  return all.filter((dir) => fs.existsSync(dir));
}

/**
 * A cell's `require` looks in the notebook's folder first.
 * @param {NodeJS.Require} own
 */
function findFromAnywhere(own) {
  const resolver = /** @type {{ _resolveFilename: (id: string, parent: any, ...rest: unknown[]) => string }} */ (
    /** @type {unknown} */ (Module)
  );
  const resolve = resolver._resolveFilename;
  const cells = path.join(process.cwd(), "src.js"); // as tslab names them
  resolver._resolveFilename = function (id, parent, ...rest) {
    try {
      return resolve.call(this, id, parent, ...rest);
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== "MODULE_NOT_FOUND") throw error;
      if (path.resolve(parent?.filename ?? "") !== cells || id.startsWith(".")) throw error;
      try {
        return own.resolve(id);
      } catch {
        throw error;
      }
    }
  };
}

/** @param {string} text compiled, with its source map at its end */
function withoutMap(text) {
  const [comment, encoded] = /\n?\/\/# sourceMappingURL=data:application\/json;base64,(\S+)\s*$/.exec(text) ?? [];
  if (!comment || !encoded) return { code: text, map: undefined };
  return { code: text.slice(0, -comment.length), map: JSON.parse(Buffer.from(encoded, "base64").toString("utf8")) };
}

/**
 * Maps positions in the second text to the text from which the first was made.
 * @param {any} second
 * @param {any} first
 * @returns {Origin}
 */
function chain(second, first) {
  const maps = [second, ...(first ? [first] : [])].map((payload) => new SourceMap(payload));
  return (line, column) => {
    let at = { line, column };
    for (const map of maps) {
      const { originalLine, originalColumn } = /** @type {{ originalLine?: number, originalColumn?: number }} */ (
        map.findEntry(at.line, at.column)
      );
      if (originalLine === undefined || originalColumn === undefined) return undefined;
      at = { line: originalLine, column: originalColumn };
    }
    return at;
  };
}
