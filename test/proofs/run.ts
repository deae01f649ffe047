/**
 * `npm run proofs [-- NAME… --again]`: measures what the README and the issues claim, and writes it with date, versions
 * and machine to results.json, and from that the README's table. A proof that holds is not run again while its inputs
 * stay the same, so a campaign that was stopped goes on; --again measures anyway. Those marked "by name" run only when
 * they are named.
 */
import fs from "node:fs";
import path from "node:path";
import { benchmark } from "./bench.js";
import { ckptPt } from "./ckpt-pt.js";
import { cleanClone } from "./clean-clone.js";
import { compiledEager } from "./compiled-eager.js";
import { compilers } from "./compilers.js";
import { cpuDemo } from "./cpu-demo.js";
import { cpuDemoPeer } from "./cpu-demo-peer.js";
import { everyEnd } from "./every-end.js";
import { flatMemory } from "./flat-memory.js";
import { fuzz } from "./fuzz.js";
import { golden } from "./golden.js";
import { gpt2Weights } from "./gpt2-weights.js";
import { killPrepare } from "./kill-prepare.js";
import { killResume } from "./kill-resume.js";
import { largeText } from "./large-text.js";
import { largeTokenFile } from "./large-token-file.js";
import { nanogptCommands } from "./nanogpt-commands.js";
import { nodeVersions } from "./node-versions.js";
import { packaged } from "./package.js";
import { prepareShakespeare } from "./prepare-shakespeare.js";
import { type Figures, fingerprint, machine, type Proof, root, rounded, versions } from "./proof.js";
import { updateReadme } from "./readme.js";
import { sampling } from "./sampling.js";
import { scalingCoverage } from "./scaling-coverage.js";
import { scalingNumbers } from "./scaling-numbers.js";
import { scalingRecovery } from "./scaling-recovery.js";
import { scalingSpeed } from "./scaling-speed.js";
import { scalingStart } from "./scaling-start.js";
import { sizing } from "./sizing.js";
import { sweepKill } from "./sweep-kill.js";
import { sweepOurs } from "./sweep-ours.js";
import { sweepPlan } from "./sweep-plan.js";
import { sweepSlurm } from "./sweep-slurm.js";
import { tokenizeSpeed } from "./tokenize-speed.js";
import { traceXl } from "./trace-xl.js";
import { trainCharPeer } from "./train-char-peer.js";
import { webGpu } from "./webgpu.js";

const proofs: readonly Proof[] = [
  golden,
  sizing,
  scalingNumbers,
  nanogptCommands,
  gpt2Weights,
  ckptPt,
  prepareShakespeare,
  tokenizeSpeed,
  largeText,
  killPrepare,
  killResume,
  everyEnd,
  fuzz,
  compiledEager,
  compilers,
  flatMemory,
  traceXl,
  largeTokenFile,
  trainCharPeer,
  cpuDemo,
  cpuDemoPeer,
  benchmark,
  sampling,
  scalingRecovery,
  scalingStart,
  scalingCoverage,
  scalingSpeed,
  sweepOurs,
  sweepPlan,
  sweepKill,
  sweepSlurm,
  packaged,
  nodeVersions,
  cleanClone,
  webGpu,
];

interface Result {
  readonly claim: string;
  readonly holds: boolean;
  readonly figures: Figures;
  readonly date: string;
  readonly minutes: number;
  readonly versions: Figures;
  readonly machine: Figures;
  /** SHA-256 of what decides it. */
  readonly inputs: string;
}

const resultsFile = path.join(root, "test", "proofs", "results.json");

function readResults(): Record<string, Result> {
  return fs.existsSync(resultsFile) ? JSON.parse(fs.readFileSync(resultsFile, "utf8")) : {};
}

function writeResult(name: string, result: Result): void {
  const all = { ...readResults(), [name]: result };
  const known = proofs.flatMap((proof) => (all[proof.name] ? [[proof.name, all[proof.name]]] : []));
  fs.writeFileSync(`${resultsFile}.partial`, `${JSON.stringify(Object.fromEntries(known), null, 2)}\n`);
  fs.renameSync(`${resultsFile}.partial`, resultsFile);
}

async function prove(proof: Proof): Promise<boolean> {
  const folder = path.join(root, ".cache", "proofs", proof.name);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const inputs = fingerprint([...proof.inputs, `test/proofs/${proof.name}.ts`]);
  const before = { date: new Date().toISOString(), versions: versions(), machine: machine() };
  const begun = performance.now();
  const { holds, figures } = await proof.run({ folder, say: (line) => console.log(`  ${line}`) });
  const minutes = rounded((performance.now() - begun) / 60_000, 2);
  writeResult(proof.name, { claim: proof.claim, holds, figures, minutes, ...before, inputs });
  show(figures);
  return holds;
}

function show(figures: Figures, indent = "  "): void {
  for (const [name, value] of Object.entries(figures)) {
    if (typeof value !== "object") console.log(`${indent}${name}: ${value}`);
    else {
      console.log(`${indent}${name}:`);
      show(value, `${indent}  `);
    }
  }
}

async function main(args: readonly string[]): Promise<number> {
  const again = args.includes("--again");
  const names = args.filter((arg) => !arg.startsWith("-"));
  const unknown = args.find((arg) => arg !== "--again" && !proofs.some(({ name }) => name === arg));
  if (unknown) {
    const known = proofs.map(({ name, byNameOnly }) => (byNameOnly ? `${name} (by name)` : name)).join(", ");
    console.error(`Cannot prove ${unknown}: there are ${known}; and --again.`);
    return 2;
  }
  const chosen = proofs.filter(({ name, byNameOnly }) => (names.length > 0 ? names.includes(name) : !byNameOnly));
  const count = { held: 0, kept: 0, failed: 0 };
  for (const proof of chosen) {
    const known = readResults()[proof.name];
    const same = known?.inputs === fingerprint([...proof.inputs, `test/proofs/${proof.name}.ts`]);
    if (known?.holds && same && !again) {
      console.log(`${proof.name}: kept, of ${known.date.slice(0, 10)}`);
      count.kept++;
      continue;
    }
    console.log(`${proof.name}: ${proof.claim}`);
    try {
      const holds = await prove(proof);
      console.log(`${proof.name}: ${holds ? "holds" : "DOES NOT HOLD"}`);
      count[holds ? "held" : "failed"]++;
    } catch (error) {
      console.error(`${proof.name}: could not be measured: ${(error as Error).message}`);
      count.failed++;
    }
  }
  updateReadme(readResults());
  console.log(`${count.held} held, ${count.kept} kept, ${count.failed} failed`);
  return count.failed > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
