#!/usr/bin/env node
/**
 * `npm run handout -- NAME --html|--slides [--to=FILE.html]`: a notebook as one HTML file, or as slides, with the outputs
 * that are stored in it. The file fetches nothing. NAME is the number or name of a notebook in notebooks/, or the path of
 * any notebook. handout/ has the parts.
 */
import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { closest } from "fastest-levenshtein";
import { built, packageRoot as root } from "./state.mjs";

const usage = "npm run handout -- NAME --html or --slides [--to=FILE.html]";

/** @param {string[]} given the arguments */
async function handout(given) {
  const { name, slides, to } = parse(given);
  const file = findNotebook(name);
  const notebook = readNotebook(file);
  const stem = path.basename(file, ".ipynb");
  const target = to ?? path.join(root, "handouts", `${stem}${slides ? "-slides" : ""}.html`);
  const { readSections } = await import("./handout/cells.mjs");
  const { handoutPage } = await import("./handout/page.mjs");
  const { replaceFile } = /** @type {typeof import("../lib/host/replace-file.js")} */ (
    await built("lib/host/replace-file.js")
  );
  const html = handoutPage(readSections(notebook, path.dirname(file)), { stem, slides });
  if (to === undefined) fs.mkdirSync(path.dirname(target), { recursive: true });
  try {
    replaceFile(target, html);
  } catch (error) {
    throw new Error(`cannot write ${target} (${reason(error)}); choose another file with --to=FILE.html`);
  }
  console.log(`${path.resolve(target)}: ${(Buffer.byteLength(html) / 1e6).toFixed(1)} MB, opens without a network`);
}

/** @param {string[]} given */
function parse(given) {
  const { values, positionals } = parseArgs({
    args: given,
    allowPositionals: true,
    options: { html: { type: "boolean" }, slides: { type: "boolean" }, to: { type: "string" } },
  });
  const { html = false, slides = false, to } = values;
  const [name] = positionals;
  if (name === undefined || positionals.length > 1) {
    throw new Error(`wanted one notebook, not ${positionals.length}: ${usage}`);
  }
  if (html === slides) throw new Error(`wanted either --html or --slides, not ${html ? "both" : "neither"}: ${usage}`);
  if (to !== undefined && !/\.html?$/i.test(to)) throw new Error(`--to is "${to}"; wanted a name that ends in .html`);
  return { name, slides, to };
}

/**
 * The file of a notebook: `13`, `induction`, `13-induction` or a path.
 * @param {string} name
 */
function findNotebook(name) {
  if (name.endsWith(".ipynb") && fs.existsSync(name)) return name;
  const folder = path.join(root, "notebooks");
  const known = fs
    .readdirSync(folder)
    .flatMap((file) => (file.endsWith(".ipynb") ? [path.basename(file, ".ipynb")] : []));
  const wanted = name.replace(/\.ipynb$/, "");
  const found = known.find((stem) => {
    const [number = "", ...words] = stem.split("-");
    return wanted === stem || wanted === words.join("-") || (/^\d+$/.test(wanted) && Number(wanted) === Number(number));
  });
  if (found) return path.join(folder, `${found}.ipynb`);
  const names = known.flatMap((stem) => [stem, stem.replace(/^\d+-/, "")]);
  const nearest = known.find((stem) => stem.endsWith(closest(path.basename(wanted), names)));
  throw new Error(`there is no notebook ${name}; the nearest name in notebooks/ is ${nearest}`);
}

/**
 * @param {string} file
 * @returns {import("./handout/cells.mjs").Notebook}
 */
function readNotebook(file) {
  let notebook;
  try {
    notebook = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`${file} is no notebook (${reason(error)}); wanted a file that Jupyter has saved`);
  }
  if (!Array.isArray(notebook?.cells)) {
    throw new Error(`${file} is no notebook of format 4 (it has no list of cells); open it in Jupyter and save it`);
  }
  return notebook;
}

/** @param {unknown} error */
const reason = (error) => (error instanceof Error ? error.message : String(error));

try {
  await handout(process.argv.slice(2));
} catch (error) {
  console.error(`Cannot make the handout: ${reason(error).replace(/\.$/, "")}.`);
  process.exitCode = 1;
}
