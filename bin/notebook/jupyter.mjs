/**
 * The parts of Jupyter that Folio needs: its Python, the folder of registered kernels, and JupyterLab's settings.
 * Set-up installs Jupyter in a checkout; where Folio is a dependency, the first `folio lab` does.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { kernelSpec } from "../kernel.mjs";
import { describeMissing, findPython } from "../prerequisites.mjs";
import { runCommand } from "../process.mjs";
import { hash, readJson, readText, writeWhole } from "../state.mjs";

/** @typedef {import("../state.mjs").Layout} Layout */

/**
 * The Python with JupyterLab, which is installed if necessary.
 * @param {Layout} at
 * @param {(line: string) => void} print
 */
export async function jupyterPython(at, print) {
  if (at.checkout) return path.join(at.venv, "bin", "python");
  const requirements = path.join(at.root, "requirements.txt");
  const folder = path.join(at.cacheDir, `jupyter-${hash([readText(requirements)]).slice(0, 8)}`);
  const python = path.join(folder, "bin", "python");
  if (fs.existsSync(path.join(folder, "folio.json"))) return python;
  const found = findPython();
  if ("remedy" in found) throw new Error(describeMissing([found]));
  print(`Installing JupyterLab into ${folder} (once)`);
  const options = { logFile: at.logFile };
  const pip = ["-m", "pip", "install", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"];
  await runCommand(found.path, ["-m", "venv", "--clear", folder], options);
  await runCommand(python, [...pip, "-r", requirements], options);
  writeWhole(path.join(folder, "folio.json"), "{}\n");
  return python;
}

/**
 * Folders for JUPYTER_PATH and for JupyterLab's settings, rewritten each time.
 * @param {Layout} at
 */
export function labFolders(at) {
  const data = path.join(at.cacheDir, "jupyter");
  writeWhole(path.join(data, "kernels", "tslab", "kernel.json"), specText(at.root));
  const settings = path.join(at.cacheDir, "lab");
  const shown = {
    // Line numbers, since errors name a line.
    "@jupyterlab/notebook-extension:tracker": { codeCellConfig: { lineNumbers: true } },
    // No requests to the internet.
    "@jupyterlab/apputils-extension:notification": { fetchNews: "false", checkForUpdates: false },
    // Documentation beside the names in completion. By default JupyterLab drops an answer that takes more than a second,
    // and a kernel's first one does, because TypeScript reads the library for it.
    "@jupyterlab/completer-extension:manager": { showDocumentationPanel: true, providerTimeout: 30_000 },
  };
  writeWhole(path.join(settings, "overrides.json"), `${JSON.stringify(shown, null, 2)}\n`);
  // JupyterLab's own scripts are CommonJS and would be read as this package's modules.
  writeWhole(path.join(at.cacheDir, "package.json"), '{ "private": true }\n');
  return { data, settings };
}

/** @param {string} root */
const specText = (root) => `${JSON.stringify(kernelSpec(root), null, 2)}\n`;

/** The folder in which Jupyter and VS Code look for a user's kernels. */
export function userDataDir() {
  const { JUPYTER_DATA_DIR, XDG_DATA_HOME } = process.env;
  if (JUPYTER_DATA_DIR) return JUPYTER_DATA_DIR;
  if (process.platform === "darwin") return path.join(os.homedir(), "Library", "Jupyter");
  return path.join(XDG_DATA_HOME || path.join(os.homedir(), ".local", "share"), "jupyter");
}

/**
 * Registers the kernel for VS Code and all other front ends of this user.
 * @param {string} root the folder of Folio
 * @param {string} name
 * @returns {string} the file that was written
 * @throws {Error} when another kernel has that name
 */
export function installKernel(root, name) {
  if (!/^[\w.-]+$/.test(name)) {
    throw new Error(
      `Cannot register the kernel: "${name}" is not a valid name; use letters, digits, _, - and . (--name=folio).`,
    );
  }
  const file = path.join(userDataDir(), "kernels", name, "kernel.json");
  const before = readJson(file);
  const ours = before?.argv?.some((/** @type {unknown} */ part) => /notebook-kernel\.mjs$/.test(String(part)));
  if (before && !ours) {
    throw new Error(
      `Cannot register the kernel: ${file} belongs to another kernel. Use another name, which notebooks must then select (--name=folio), or remove that kernel (jupyter kernelspec remove ${name}).`,
    );
  }
  writeWhole(file, specText(root));
  return file;
}
