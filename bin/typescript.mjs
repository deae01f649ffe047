/**
 * Lets Node import the sources, for the processes and threads that tests start: `node --import …/bin/typescript.mjs`.
 * It only removes the types, and keeps the results in .cache/typescript, so that a process starts nearly as fast as
 * from the build. Configs, which anybody may write, are loaded by jiti (lib/settings/config-files.ts).
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { register } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../.cache/typescript", import.meta.url));
const hooks = new URL("?hooks", import.meta.url).href;
// Node runs the hooks in a thread of their own, where it loads this file once more.
if (import.meta.url !== hooks) register(hooks);

/**
 * A source imports "./x.js", its name after the build.
 * @type {import("node:module").ResolveHook}
 */
export function resolve(specifier, context, next) {
  if (/^(\.|file:).*\.js$/.test(specifier)) {
    const url = new URL(specifier.replace(/js$/, "ts"), context.parentURL);
    if (fs.existsSync(url)) return { url: url.href, format: "module", shortCircuit: true };
  }
  return next(specifier, context);
}

/** @type {import("node:module").LoadHook} */
export async function load(url, context, next) {
  if (!/^file:.*\.m?ts$/.test(url)) return next(url, context);
  return { format: "module", source: await withoutTypes(fileURLToPath(url)), shortCircuit: true };
}

/** @param {string} file */
async function withoutTypes(file) {
  const source = fs.readFileSync(file, "utf8");
  const kept = path.join(folder, `${createHash("sha256").update(source).digest("hex")}.js`);
  if (fs.existsSync(kept)) return fs.readFileSync(kept, "utf8");
  process.env.ESBUILD_WORKER_THREADS = "0"; // else esbuild would leave a process beside this one
  const { transformSync } = await import("esbuild");
  const { code } = transformSync(source, { loader: "ts", format: "esm", target: "node20", sourcefile: file });
  fs.mkdirSync(folder, { recursive: true });
  const unfinished = `${kept}.${process.pid}`;
  fs.writeFileSync(unfinished, code);
  fs.renameSync(unfinished, kept);
  return code;
}
