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
    "The archive of npm pack, installed in an empty project, can be imported with types under strict TypeScript and trains a model",
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
    await run("setUp", "npx", "--no-install", "folio", "setup");
    const strict = ["--strict", "--module", "nodenext", "--target", "es2023", "--types", "node", "--skipLibCheck"];
    await run("compile", process.execPath, "node_modules/typescript/bin/tsc", ...strict, "main.ts");
    const output = await run("train", process.execPath, "main.js");
    const { loss, sampled } = JSON.parse(output.trim().split("\n").at(-1)!) as { loss: number; sampled: number };
    fs.rmSync(project, { recursive: true });
    const holds = Number.isFinite(loss) && loss < 4.5 && sampled === 10;
    return { holds, figures: { archiveBytes, minutes, loss, sampledCharacters: sampled } };
  },
};
