/**
 * The Jupyter kernel spec that set-up registers in the `.venv`: how Jupyter starts tslab (notebook-kernel.mjs). Set-up
 * writes it again whenever it differs from the registered one.
 */
import path from "node:path";

/** @param {string} root the folder of Folio */
export function kernelSpec(root) {
  return {
    // Node by its absolute path, since a Jupyter started from a menu has another PATH than the shell.
    // Cells `require` the library, an ECMAScript module, about which Node 20 would print a warning in each kernel.
    argv: [
      process.execPath,
      "--disable-warning=ExperimentalWarning",
      // An interrupt may end a callback half-way, which Node would take for a corrupted state.
      "--no-force-async-hooks-checks",
      path.join(root, "bin", "notebook-kernel.mjs"),
      "kernel",
      "--config-path",
      "{connection_file}",
    ],
    display_name: "TypeScript",
    language: "typescript",
    // On the control channel, which the kernel reads even while it is busy.
    interrupt_mode: "message",
  };
}
