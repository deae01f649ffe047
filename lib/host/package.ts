/** This package's folder and version: the same from lib/ (tests) and dist/lib/ (everything else). */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The package's root folder, found upwards from this module. */
export function packageRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!fs.existsSync(path.join(folder, "package.json"))) folder = path.dirname(folder);
  return folder;
}

export function folioVersion(): string {
  const text = fs.readFileSync(path.join(packageRoot(), "package.json"), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * The loader that lets Node import TypeScript (`node --import …`), for processes and threads started from the sources.
 * It is given by its path, since its package exports it to `import` alone.
 */
export function typescriptLoader(): string {
  const folder = path.dirname(createRequire(import.meta.url).resolve("jiti/package.json"));
  return pathToFileURL(path.join(folder, "lib", "jiti-register.mjs")).href;
}
