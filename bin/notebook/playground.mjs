/**
 * Copies of the notebooks in `playground/`, which git ignores, so that running and editing them leaves the tracked ones
 * unchanged. An unedited copy is updated with its notebook; an edited one is never touched.
 */
import fs from "node:fs";
import path from "node:path";
import { hash, readJson, readText, writeWhole } from "../state.mjs";

/**
 * @param {string} root the folder of Folio
 * @returns {{ folder: string, kept: string[] }} their folder, and the edited copies that are older than their notebook
 */
export function openPlayground(root) {
  const from = path.join(root, "notebooks");
  const folder = path.join(root, "playground");
  const copiesFile = path.join(folder, ".copies.json");
  fs.mkdirSync(folder, { recursive: true });
  /** A hash of each notebook as it was copied. */
  const copied = /** @type {Record<string, string>} */ (readJson(copiesFile) ?? {});
  /** @type {string[]} */
  const kept = [];
  for (const name of fs.readdirSync(from).filter((file) => file.endsWith(".ipynb"))) {
    const [original, copy] = [readText(path.join(from, name)), readText(path.join(folder, name))];
    if (original === undefined || copied[name] === hash([original])) continue;
    const untouched = copy === undefined || hash([copy]) === copied[name];
    if (!untouched) {
      kept.push(name);
      continue;
    }
    writeWhole(path.join(folder, name), original);
    copied[name] = hash([original]);
  }
  writeWhole(copiesFile, `${JSON.stringify(copied, null, 2)}\n`);
  return { folder, kept };
}
