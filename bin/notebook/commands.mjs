/** `folio lab`, `folio notebook` and `folio kernel`, which run without the library; folio.mjs calls them. */
import path from "node:path";
import { packageRoot } from "../state.mjs";
import { installKernel } from "./jupyter.mjs";
import { newNotebook, templateNames } from "./new-notebook.mjs";

const help = {
  lab: `folio lab [FOLDER] [JupyterLab's options]

Opens JupyterLab with Folio's kernel on FOLDER, by default the current folder (in a checkout, copies of the notebooks in
playground/). --inspect[=PORT] lets a debugger attach. All other options go to JupyterLab, among them --no-browser,
--port=8899 and, as root, --allow-root. With npm they follow \`--\`: npm run lab -- --no-browser --allow-root`,
  notebook: `folio notebook NEW.ipynb [--from=TEMPLATE]

Makes a notebook of your own. Templates: ${templateNames(packageRoot).join(", ")} (default: experiment).`,
  kernel: `folio kernel install [--user] [--name=NAME]

Registers the kernel for VS Code and all other front ends of this user (in the user's Jupyter folder), under the name that
Folio's notebooks use, tslab, or under NAME.`,
};

/** @typedef {keyof typeof help} Command */

/** @param {string | undefined} name @returns {name is Command} */
export const isNotebookCommand = (name) => name !== undefined && Object.hasOwn(help, name);

/**
 * @param {Command} command
 * @param {string[]} args
 * @returns {Promise<number>} the exit code
 */
export async function notebookCommand(command, args) {
  if (args.includes("--help") || args.includes("-h")) {
    console.log(help[command]);
    return 0;
  }
  if (command === "lab") return (await import("../lab.mjs")).lab(args);
  const known = command === "notebook" ? ["from"] : ["user", "name"];
  const { values, positionals } = read(command, args, known);
  if (command === "notebook") {
    const [file, ...more] = positionals;
    if (file === undefined || more.length > 0)
      throw new Error(`Cannot make a notebook: wanted one name.\n\n${help.notebook}`);
    const made = newNotebook(packageRoot, file, values.from ?? "experiment");
    console.log(`${made} was made; \`npx folio lab ${path.dirname(made)}\` opens its folder.`);
    return 0;
  }
  if (positionals.join(" ") !== "install")
    throw new Error(`Cannot run \`folio kernel\`: wanted \`folio kernel install\`.\n\n${help.kernel}`);
  console.log(`The kernel is registered: ${installKernel(packageRoot, values.name ?? "tslab")}`);
  return 0;
}

/**
 * @param {Command} command
 * @param {string[]} args
 * @param {string[]} known
 */
function read(command, args, known) {
  /** @type {Record<string, string | undefined>} */
  const values = {};
  /** @type {string[]} */
  const positionals = [];
  for (const arg of args) {
    const [, name, value = ""] = /^--([\w-]+)(?:=(.*))?$/.exec(arg) ?? [];
    if (name === undefined) positionals.push(arg);
    else if (known.includes(name)) values[name] = value;
    else throw new Error(`Cannot read ${arg}: there is no such option.\n\n${help[command]}`);
  }
  return { values, positionals };
}
