import fs from "node:fs";
import path from "node:path";
import { type Figures, finish, type Proof, root } from "./proof.js";

/** Tests the commit, without changes in the working tree. Needs an idle machine and the registries of npm and PyPI. */
export const cleanClone: Proof = {
  name: "clean-clone",
  claim: "In a fresh clone, npm start and npm test pass, both the first and the second time",
  inputs: ["bin", "lib", "data", "configs", "test", "notebooks", "package-lock.json", "requirements.txt"],
  async run({ folder, say }) {
    const clone = path.join(folder, "folio");
    const cloned = await finish("git", ["clone", "--quiet", root, clone]);
    if (cloned.code !== 0) throw new Error(cloned.output);
    const commit = (await finish("git", ["rev-parse", "--short", "HEAD"], clone)).output.trim();
    const figures: Record<string, Figures> = {};
    let holds = true;
    for (const [name, ...args] of [
      ["firstStart", "start"],
      ["secondStart", "start"],
      ["firstTest", "test"],
      ["secondTest", "test"],
    ] as const) {
      const { code, output, minutes } = await finish("npm", args, clone);
      const lastLine = output.trimEnd().split("\n").at(-1) ?? "";
      fs.writeFileSync(path.join(folder, `${name}.log`), output);
      figures[name] = { minutes, exitCode: code ?? -1, lastLine: lastLine.replaceAll(clone, ".") };
      say(
        `${name}: ${minutes} minutes, exit code ${code}; its output is in ${path.relative(root, folder)}/${name}.log`,
      );
      holds &&= code === 0;
    }
    return { holds, figures: { commit, ...figures } };
  },
};
