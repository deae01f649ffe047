import fs from "node:fs";
import path from "node:path";
import { nativeFolder, nativeVariants, registeringFlags } from "../../bin/native.mjs";
import { compileKernels } from "../engine/native/kernels-program.js";
import { finish, type Proof, root, start } from "./proof.js";

const ours = ["g++-11", "g++-12", "clang++-14", "clang++-16", "clang++-19"];
const arm = "aarch64-linux-gnu-g++";

/** All are packages of Debian 12; a compiler that is not installed counts as not run. */
export const compilers: Proof = {
  name: "compilers",
  claim: `${ours.join(", ")} and, for arm64, ${arm} compile Folio's operations, and the kernels compute the same as plain loops`,
  inputs: ["lib/engine/native", "bin/native.mjs", "test/engine/native"],
  async run({ folder, say }) {
    const figures: Record<string, string> = {};
    let run = 0;
    let wrong = 0;
    const note = (compiler: string, result: string, right: boolean) => {
      figures[compiler] = result;
      say(`${compiler}: ${result}`);
      run++;
      if (!right) wrong++;
    };
    for (const compiler of [...ours, arm]) {
      if (!(await installed(compiler))) {
        figures[compiler] = "not run: it is not installed";
        continue;
      }
      try {
        const { result, right } = await tried(compiler, path.join(folder, compiler));
        note(compiler, result, right);
      } catch (error) {
        note(compiler, String(error).split("\n").slice(0, 3).join(" "), false);
      }
    }
    return { holds: run > 0 && wrong === 0, figures };
  },
};

/**
 * One compiler: the results of its variants (under QEMU for other processors), and whether it compiles the
 * registration.
 */
async function tried(compiler: string, folder: string): Promise<{ result: string; right: boolean }> {
  const foreign = compiler === arm && process.arch !== "arm64";
  const made = await compileKernels([compiler], folder, foreign ? { arch: "arm64", flags: ["-static"] } : {});
  const [command, ...args] = foreign ? ["qemu-aarch64", "-cpu", "max", made.program] : [made.program];
  const { code, output } = await finish(command!, args);
  const parts = output.trim().split("\n");
  for (const [name, reason] of Object.entries(made.left)) parts.push(`without ${name}: ${reason}`);
  if (foreign) return { result: parts.join("; "), right: code === 0 };
  const tensorflow = fs.readdirSync(path.join(root, ".venv", "lib"))[0]!;
  const include = path.join(root, ".venv", "lib", tensorflow, "site-packages", "tensorflow", "include");
  const source = path.join(nativeFolder(root), "tensorflow", "ops.cc");
  const registered = await finish(compiler, [
    ...registeringFlags(nativeVariants()),
    `-I${include}`,
    "-fsyntax-only",
    source,
  ]);
  parts.push(`registration ${registered.code === 0 ? "compiles" : `fails: ${registered.output.split("\n")[0]}`}`);
  return { result: parts.join("; "), right: code === 0 && registered.code === 0 };
}

function installed(command: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = start(command, ["--version"]);
    child.on("error", () => resolve(false));
    child.on("close", (code) => resolve(code === 0));
  });
}
