#!/usr/bin/env node
/**
 * The command `folio`. It is plain JavaScript because it runs before anything is built: it reports missing set-up,
 * updates dist in a checkout, and calls lib/cli/main.ts.
 */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { outliveTerminal } from "./closed-terminal.mjs";
import { isNotebookCommand, notebookCommand } from "./notebook/commands.mjs";
import { describeMissing, missingNode } from "./prerequisites.mjs";
import { buildIfNeeded, setup } from "./setup.mjs";
import { operationsWarning } from "./stale.mjs";
import * as state from "./state.mjs";

const needless = new Set(["doctor", "help", "--help", "-h", "--version"]);
/** Commands that compute with a model; doctor reports problems itself. */
const computing = new Set(["start", "train", "sample", "eval", "bench", "scaling"]);

/** @param {string[]} argv the arguments after the command's name */
async function folio(argv) {
  const node = missingNode();
  if (node) throw new Error(describeMissing([node]));
  if (argv[0] === "setup") return setup();
  const [command, ...rest] = argv;
  if (isNotebookCommand(command)) return notebookCommand(command, rest);
  const at = state.layout();
  // Not all of set-up's checks, which would take too long; these determine whether anything can run.
  const needsTensorFlow = argv[0] !== undefined && !argv.some((arg) => needless.has(arg));
  const isThere =
    at.tfjs && (!needsTensorFlow || (fs.existsSync(at.venv) && fs.existsSync(state.bindingPaths(at).file)));
  if (!isThere) {
    throw new Error(`Folio is not set up here yet: run \`${at.checkout ? "npm run setup" : "npx folio setup"}\`.`);
  }
  await buildIfNeeded(at);
  const warning = needsTensorFlow && computing.has(argv[0] ?? "") ? operationsWarning(at) : undefined;
  if (warning) process.stderr.write(`${warning}\n`);
  const cli = await import(pathToFileURL(path.join(at.root, "dist", "lib", "cli", "main.js")).href);
  return /** @type {Promise<number>} */ (cli.main(argv));
}

outliveTerminal();
// Not awaited at the top level, since Node would print a warning of its own if the program ended before its work was
// done.
folio(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    const said = error instanceof Error && process.env.FOLIO_DEBUG !== "1" ? error.message : undefined;
    console.error(said === undefined ? error : said.startsWith("Cannot ") ? `folio: ${said}` : said);
    process.exitCode = 1;
  },
);
