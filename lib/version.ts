/** Where this package stands and which version it is: the same from lib/ (tests) and dist/lib/ (everything else). */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

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
