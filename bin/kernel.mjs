/**
 * The Jupyter kernel spec that set-up registers in the `.venv`: how Jupyter starts tslab, and with which environment.
 * It is plain data; set-up writes it again whenever it differs from what is registered.
 */
import fs from "node:fs";
import path from "node:path";

/**
 * Environment variables of every notebook kernel.
 * @param {string} _root the folder of Folio
 * @returns {Record<string, string>}
 */
export function kernelEnvironment(_root) {
  return {};
}

/**
 * @param {string} root the folder of Folio
 * @param {string} tslab the folder of the tslab package
 */
export function kernelSpec(root, tslab) {
  return {
    // Node by its absolute path: a Jupyter started from a menu has another PATH than the shell.
    argv: [
      process.execPath,
      path.join(fs.realpathSync(tslab), "bin", "tslab"),
      "kernel",
      "--config-path",
      "{connection_file}",
    ],
    display_name: "TypeScript",
    language: "typescript",
    env: kernelEnvironment(root),
  };
}
