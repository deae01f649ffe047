/** The datasets that Folio can prepare: the folders of data/ that have a prepare module. */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// data/ beside lib/: the sources if this file is a source, else the built modules in dist/.
const dataFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..", "data");

/** The datasets that can be prepared. */
export function datasetNames(): string[] {
  return readdirSync(dataFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && modulePath(entry.name) !== undefined)
    .map((entry) => entry.name);
}

/** The module that prepares a dataset. */
export function modulePath(name: string): string | undefined {
  return ["prepare.js", "prepare.ts"].map((file) => join(dataFolder, name, file)).find(existsSync);
}
