import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { finish, type Proof, root } from "./proof.js";

const script = `import * as folio from "folio";
import { prepare } from "folio/data/typescript";

await prepare({ dataDir: "data", log: () => {} });
const settings: folio.Settings = folio.parseSettings({
  dataset: "typescript", nLayer: 1, nHead: 2, nEmbd: 16, blockSize: 16, batchSize: 4, gradientAccumulationSteps: 1,
  maxIters: 20, evalInterval: 10, evalIters: 2, warmupIters: 0, lrDecayIters: 20,
});
let loss = Number.POSITIVE_INFINITY;
for await (const record of folio.train(settings)) if (record.kind === "eval") loss = record.valLoss;
const { tokenizer } = folio.openDataset(settings.dataDir, settings.dataset);
let text = "";
for await (const token of folio.sample(folio.openCheckpoint(settings.outDir), tokenizer, { prompt: "a", maxNewTokens: 10 })) text += token.text;
console.log(JSON.stringify({ loss, sampled: text.length }));
`;

export const packaged: Proof = {
  name: "package",
  claim:
    "The archive of npm pack, installed in an empty project, can be imported with types under strict TypeScript and trains a model; the README's program runs, and JupyterLab opens",
  inputs: ["lib", "bin", "configs", "data", "package.json", "requirements-tensorflow.txt"],
  async run({ folder, say }) {
    // Outside the checkout, because Node and TypeScript would find its packages and settings in parent folders.
    const project = fs.mkdtempSync(path.join(os.tmpdir(), "folio-package-"));
    fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ type: "module", private: true }));
    fs.writeFileSync(path.join(project, "main.ts"), script);
    const minutes: Record<string, number> = {};
    const run = async (name: string, command: string, ...args: string[]) => {
      const finished = await finish(command, args, name === "build" || name === "pack" ? root : project);
      if (finished.code !== 0) throw new Error(`${name} failed:\n${finished.output.slice(-3000)}`);
      minutes[name] = finished.minutes;
      say(`${name}: ${finished.minutes} minutes`);
      return finished.output;
    };
    await run("build", "npm", "run", "build");
    await run("pack", "npm", "pack", "--pack-destination", folder);
    const archive = fs.readdirSync(folder).find((name) => name.endsWith(".tgz"))!;
    const archiveBytes = fs.statSync(path.join(folder, archive)).size;
    await run(
      "install",
      "npm",
      "install",
      "--ignore-scripts",
      path.join(folder, archive),
      "typescript@6",
      "@types/node@20",
    );
    await run("setUp", "npx", "folio", "setup");
    const strict = ["--strict", "--module", "nodenext", "--target", "es2023", "--types", "node", "--skipLibCheck"];
    await run("compile", process.execPath, "node_modules/typescript/bin/tsc", ...strict, "main.ts");
    const output = await run("train", process.execPath, "main.js");
    const { loss, sampled } = JSON.parse(output.trim().split("\n").at(-1)!) as { loss: number; sampled: number };
    const readme = fs.readFileSync(path.join(root, "README.md"), "utf8");
    const [, program = ""] = /## In a program\n\n```ts\n(.*?)```/s.exec(readme) ?? [];
    fs.writeFileSync(path.join(project, "hello.ts"), program);
    fs.writeFileSync(path.join(project, "poems.txt"), "The woods are lovely, dark and deep.\n".repeat(1000));
    const printed = await run("readmeProgram", "npx", "jiti", "hello.ts");
    const lab = await addressOfLab(project);
    fs.rmSync(project, { recursive: true });
    const holds = Number.isFinite(loss) && loss < 4.5 && sampled === 10 && /^500 \d/m.test(printed) && lab;
    return { holds, figures: { archiveBytes, minutes, loss, sampledCharacters: sampled, labStarts: lab } };
  },
};

/** Whether `npx folio lab` starts in a project: it installs JupyterLab, and prints its address once it listens. */
async function addressOfLab(project: string): Promise<boolean> {
  const asRoot = process.getuid?.() === 0 ? ["--allow-root"] : [];
  const child = spawn(path.join("node_modules", ".bin", "folio"), ["lab", "--no-browser", "--port=0", ...asRoot], {
    cwd: project,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let printed = "";
  return new Promise((resolve) => {
    const read = (chunk: Buffer) => {
      printed += chunk;
      if (/http:\/\/127\.0\.0\.1:\d+\/lab/.test(printed)) child.kill("SIGTERM");
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("exit", () => resolve(/http:\/\/127\.0\.0\.1:\d+\/lab/.test(printed)));
  });
}
