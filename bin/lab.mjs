#!/usr/bin/env node
/**
 * `npm run lab`: JupyterLab on the notebooks, on this machine only and with Jupyter's own token, beside a build that
 * watches the sources. Ctrl-C ends both. `--inspect[=PORT]` lets a debugger attach to the kernel (one at a time);
 * everything else goes to JupyterLab: `npm run lab -- --no-browser --port=8899`.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import { setup } from "./setup.mjs";
import { findPackage, packageRoot as root } from "./state.mjs";

/** How long an asked program may take to end before it is killed. */
const patienceMs = 10_000;

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
 * Each in a group of its own, so that Ctrl-C reaches this process alone: Jupyter would ask back, and leave tsc behind.
 * @param {string} command
 * @param {string[]} args
 */
function start(command, args) {
  const child = spawn(command, args, { cwd: root, env, detached: true, stdio: ["ignore", "inherit", "inherit"] });
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

/** SIGTERM: JupyterLab shuts its kernels down and ends. */
function end() {
  if (ending) return;
  ending = true;
  for (const { child } of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), patienceMs).unref();
  }
}
