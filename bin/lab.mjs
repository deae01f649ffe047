#!/usr/bin/env node
/**
 * `npm run lab`: JupyterLab on the notebooks, on this machine only and with Jupyter's own token, beside a build that
 * watches the sources. Ctrl-C ends both, and so does any other end of this process. `--inspect[=PORT]` lets a debugger attach to the kernel (one at a time);
 * everything else goes to JupyterLab: `npm run lab -- --no-browser --port=8899`.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { setup } from "./setup.mjs";
import { findPackage, packageRoot as root } from "./state.mjs";

const guard = path.join(root, "bin", "guard.mjs");

const given = process.argv.slice(2);
const inspect = given.find((arg) => /^--inspect(=\d+)?$/.test(arg));
const port = inspect && (inspect.split("=")[1] ?? "9229");

const failed = await setup();
if (failed) process.exit(failed);

const env = { ...process.env, JUPYTER_PREFER_ENV_PATH: "1", ...(port && { FOLIO_INSPECT: port }) };
const tsc = path.join(findPackage(root, "typescript") ?? "typescript", "bin", "tsc");
const jupyter = path.join(root, ".venv", "bin", "python");
let ending = false;
const children = [
  start(process.execPath, [tsc, "-p", "tsconfig.build.json", "--watch", "--preserveWatchOutput"]),
  start(jupyter, [
    "-m",
    "jupyterlab",
    "--ServerApp.ip=127.0.0.1",
    `--ServerApp.root_dir=${root}`,
    "--LabApp.default_url=/lab/tree/notebooks",
    ...given.filter((arg) => arg !== inspect),
  ]),
];
if (port) console.log(`A debugger can attach to the kernel at 127.0.0.1:${port} once a notebook is open.`);

for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(signal, end);
// When one ends, so does the other.
const codes = await Promise.all(children.map(({ ended }) => ended.finally(end)));
process.exitCode = codes[1] ?? 1;

/**
 * Each with a guard, in a group of its own, so that Ctrl-C reaches this process alone: Jupyter would ask back, and leave
 * tsc behind. The guard ends its program when the pipe to it is closed.
 * @param {string} command
 * @param {string[]} args
 */
function start(command, args) {
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
}

/** The guards ask their programs to end; JupyterLab shuts its kernels down first. */
function end() {
  if (ending) return;
  ending = true;
  for (const { child } of children) child.stdin?.end();
}
