#!/usr/bin/env node
/**
 * `folio lab [FOLDER]` (in a checkout also `npm run lab [-- FOLDER]`): JupyterLab with Folio's kernel, only on this
 * machine and with Jupyter's own token. Without a folder it opens, in a checkout, copies of the notebooks
 * (notebook/playground.mjs) and runs a build that watches the sources; elsewhere it opens the current folder. Ctrl-C
 * ends all of it. `--inspect[=PORT]` lets a debugger attach to the kernel (one at a time); all other options go to
 * JupyterLab: `folio lab --no-browser --port=8899`.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { outliveTerminal } from "./closed-terminal.mjs";
import { jupyterPython, labFolders } from "./notebook/jupyter.mjs";
import { openPlayground } from "./notebook/playground.mjs";
import { setup } from "./setup.mjs";
import { findPackage, layout, packageRoot as root } from "./state.mjs";

const guard = path.join(root, "bin", "guard.mjs");

/**
 * What the arguments say. A lone `--`, which npm needs, means nothing here; JupyterLab would ignore what follows it.
 * @param {readonly string[]} given
 */
export function readLabArguments(given) {
  const inspect = given.find((arg) => /^--inspect(=\d+)?$/.test(arg));
  const port = inspect && (inspect.split("=")[1] ?? "9229");
  const [folder, ...more] = given.filter((arg) => !arg.startsWith("-"));
  if (more.length > 0) {
    throw new Error(
      `Cannot open the lab: wanted one folder, found ${[folder, ...more].join(", ")}; an option's value follows "=", as in --port=8899.`,
    );
  }
  return { folder, port, options: given.filter((arg) => arg.startsWith("-") && arg !== inspect && arg !== "--") };
}

/**
 * @param {string[]} given the arguments
 * @returns {Promise<number>} the exit code
 */
export async function lab(given) {
  const { folder, port, options: forJupyter } = readLabArguments(given);
  if (folder !== undefined && !fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
    throw new Error(
      `Cannot open the lab: there is no folder ${folder}. (An option's value follows "=", as in --port=8899.)`,
    );
  }
  const failed = await setup();
  if (failed) return failed;

  const at = layout();
  const { data, settings } = labFolders(at);
  const env = {
    ...process.env,
    JUPYTER_PREFER_ENV_PATH: "1",
    JUPYTER_PATH: [data, process.env.JUPYTER_PATH].filter(Boolean).join(path.delimiter),
    ...(port && { FOLIO_INSPECT: port }),
  };
  const jupyter = await jupyterPython(at, console.log);
  const options = [
    ...placeOptions(at, folder, forJupyter),
    "--ServerApp.ip=127.0.0.1",
    `--LabApp.app_settings_dir=${settings}`,
    ...forJupyter,
  ];
  const tsc = path.join(findPackage(root, "typescript") ?? "typescript", "bin", "tsc");
  const watch = [tsc, "-p", "tsconfig.build.json", "--watch", "--preserveWatchOutput"];
  if (port) console.log(`A debugger can attach to the kernel at 127.0.0.1:${port} once a notebook is open.`);
  return together([
    [jupyter, ["-m", "jupyterlab", ...options], env],
    ...(at.checkout && folder === undefined ? /** @type {const} */ ([[process.execPath, watch, env]]) : []),
  ]);
}

/**
 * JupyterLab's options for its first folder, unless they are given.
 * @param {import("./state.mjs").Layout} at
 * @param {string | undefined} folder
 * @param {string[]} given
 */
function placeOptions(at, folder, given) {
  if (given.some((arg) => /^--(ServerApp\.|notebook-|LabApp\.)?(root[_-]dir|notebook_dir)\b/.test(arg))) return [];
  if (folder !== undefined || !at.checkout) return [`--ServerApp.root_dir=${path.resolve(folder ?? ".")}`];
  const { kept } = openPlayground(root);
  console.log(
    "The notebooks are copies in playground/ for running and editing; `folio lab notebooks` opens those that git tracks.",
  );
  for (const name of kept) console.log(`playground/${name} was edited and is kept; notebooks/${name} is newer.`);
  return [`--ServerApp.root_dir=${root}`, "--LabApp.default_url=/lab/tree/playground"];
}

/**
 * Runs programs until one ends, then ends the others; returns the first one's exit code. Each has a guard in a process
 * group of its own, so that Ctrl-C reaches only this process: Jupyter would ask for confirmation, and leave the other
 * program running. The guard ends its program when the pipe to it is closed, however this process ends; JupyterLab
 * first shuts its kernels down.
 * @param {(readonly [command: string, args: readonly string[], env: NodeJS.ProcessEnv])[]} programs
 */
async function together(programs) {
  const children = programs.map(([command, args, env]) => {
    const child = spawn(process.execPath, [guard, command, ...args], {
      cwd: root,
      env,
      detached: true,
      stdio: ["pipe", "inherit", "inherit"],
    });
    child.stdin?.on("error", () => {}); // it has ended
    /** @type {Promise<number | null>} */
    const ended = new Promise((resolve) => {
      child.once("error", (error) => {
        console.error(`Cannot start ${command}: ${error.message}`);
        resolve(1);
      });
      child.once("exit", (code) => resolve(code));
    });
    return { child, ended };
  });
  const end = () => {
    for (const { child } of children) child.stdin?.end();
  };
  for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, end);
  const codes = await Promise.all(children.map(({ ended }) => ended.finally(end)));
  return codes[0] ?? 1;
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  outliveTerminal();
  try {
    process.exitCode = await lab(process.argv.slice(2));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
