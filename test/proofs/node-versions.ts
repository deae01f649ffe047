import fs from "node:fs";
import path from "node:path";
import { commands, finish, folio, folioCommand, type Proof } from "./proof.js";

const wanted = ["20.19", "22", "24"];

/** Each Node comes from npm's package of its binaries; if the registry has none, the version counts as not run. */
export const nodeVersions: Proof = {
  name: "node-versions",
  claim: `Node ${wanted.join(", ")} run the doctor and train a tiny model, all with the same final loss`,
  inputs: [...commands("prepare", "train", "doctor"), "package-lock.json"],
  async run({ folder, say }) {
    await folio("prepare", "typescript", `--data_dir=${folder}`);
    const figures: Record<string, string> = {};
    const losses = new Set<string>();
    let failed = 0;
    for (const version of wanted) {
      const at = path.join(folder, `node-${version}`);
      fs.mkdirSync(at, { recursive: true });
      const name = `node-${process.platform === "darwin" ? "darwin" : "linux"}-${process.arch}`;
      const install = ["install", "--prefix", at, "--no-save", "--ignore-scripts", "--no-audit", "--no-fund"];
      const { code, output } = await finish("npm", [...install, `${name}@${version}`], at);
      const node = path.join(at, "node_modules", name, "bin", "node");
      if (code !== 0 || !fs.existsSync(node)) {
        figures[`node ${version}`] = `not run: the registry has no ${name}@${version} (${output.split("\n")[0]})`;
        continue;
      }
      const exact = (await finish(node, ["--version"])).output.trim();
      const doctor = await finish(node, [folioCommand, "doctor"]);
      // The doctor rightly reports that the notebook kernel uses the Node of set-up, which is another one.
      const faults = (doctor.output.match(/^✗ .*$/gm) ?? []).filter((fault) => !/^✗ Set-up, kernel/.test(fault));
      const flags = `--dataset=typescript --n_layer=1 --n_head=2 --n_embd=16 --block_size=16 --max_iters=20 --eval_iters=2 --gradient_accumulation_steps=1`;
      const outDir = path.join(folder, `out-${version}`);
      const where = [`--data_dir=${folder}`, `--out_dir=${outDir}`];
      const training = await finish(node, [folioCommand, "train", ...flags.split(" "), ...where]);
      const loss = /step 20: train loss \S+ val loss (\S+)/.exec(training.output)?.[1];
      const right =
        doctor.output.includes(exact.slice(1)) && faults.length === 0 && training.code === 0 && loss !== undefined;
      if (loss) losses.add(loss);
      if (!right) {
        failed++;
        say(`${doctor.output}\n${training.output.slice(-2000)}`);
      }
      figures[`node ${version}`] =
        `${exact}: doctor found ${faults.length} faults, training ended with ${training.code}, loss ${loss ?? "none"}`;
      say(`node ${version}: ${figures[`node ${version}`]}`);
    }
    return { holds: failed === 0 && losses.size === 1, figures };
  },
};
