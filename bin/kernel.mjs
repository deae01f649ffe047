/**
 * The Jupyter kernel spec that set-up registers in the `.venv`: how Jupyter starts tslab (notebook-kernel.mjs).
 * It is plain data; set-up writes it again whenever it differs from what is registered.
 */
import path from "node:path";

/** @param {string} root the folder of Folio */
export function kernelSpec(root) {
  return {
    // Node by its absolute path: a Jupyter started from a menu has another PATH than the shell.
    // The library is an ECMAScript module, which cells require: Node 20 calls that experimental in each kernel.
    argv: [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      // An interrupt may end a callback half-way, which Node takes for a damaged state of its own.
      "--no-force-async-hooks-checks",
      path.join(root, "bin", "notebook-kernel.mjs"),
      "kernel",
      "--config-path",
      "{connection_file}",
    ],
    display_name: "TypeScript",
    language: "typescript",
    // On the control channel, which the kernel hears while it is busy.
    interrupt_mode: "message",
  };
}
