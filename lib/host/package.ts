/** This package's folder and version: the same from lib/ (tests) and dist/lib/ (everything else). */
import fs from "node:fs";
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

/** What lets Node import TypeScript (`node --import …`), for processes and threads started from the sources. */
export function typescriptLoader(): string {
  return pathToFileURL(path.join(packageRoot(), "bin", "typescript.mjs")).href;
}
