/**
 * `npm run proofs -- NAME…` measures the claims, writes the results with date, commit, processor and machine to
 * results.json, and updates the README's table. A result stays until it is measured again on the same processor.
 * Without a name, lists all results; with --stale, those whose sources have changed since.
 */
import fs from "node:fs";
import path from "node:path";
import { appleDemo } from "./apple-demo.js";
import { attentionPage } from "./attention-page.js";
import { benchmark } from "./bench.js";
import { charWhole } from "./char-whole.js";
import { ckptPt } from "./ckpt-pt.js";
import { cleanClone } from "./clean-clone.js";
import { compilers } from "./compilers.js";
import { cpuDemo } from "./cpu-demo.js";
import { cpuDemoPeer } from "./cpu-demo-peer.js";
import { cpuDemoSeeds } from "./cpu-demo-seeds.js";
import { devicesProof } from "./devices.js";
import { everyEnd } from "./every-end.js";
import { flatMemory } from "./flat-memory.js";
import { fuzz } from "./fuzz.js";
import { golden } from "./golden.js";
import { gpt2Weights } from "./gpt2-weights.js";
import { inductionHeads } from "./induction.js";
import { killPrepare } from "./kill-prepare.js";
import { killResume } from "./kill-resume.js";
import { largeText } from "./large-text.js";
import { largeTokenFile } from "./large-token-file.js";
import { livePage } from "./live-page.js";
import { mutation } from "./mutation.js";
import { nanogptCommands } from "./nanogpt-commands.js";
import { nodeVersions } from "./node-versions.js";
import { packaged } from "./package.js";
import { commit, type Figures, machine, type Proof, processorName, root, rounded, versions } from "./proof.js";
import { type Results, updateReadme } from "./readme.js";
import { sampling } from "./sampling.js";
import { scalingCoverage } from "./scaling-coverage.js";
import { scalingCurves } from "./scaling-curves.js";
import { scalingNext } from "./scaling-next.js";
import { sizing } from "./sizing.js";
import { fingerprint } from "./sources.js";
import { sweepKill } from "./sweep-kill.js";
import { sweepOurs } from "./sweep-ours.js";
import { sweepPlan } from "./sweep-plan.js";
import { sweepSlurm } from "./sweep-slurm.js";
import { tokenizeSpeed } from "./tokenize-speed.js";
import { trainCharPeer } from "./train-char-peer.js";
import { webGpu } from "./webgpu.js";

const proofs: readonly Proof[] = [
  golden,
  sizing,
  nanogptCommands,
  gpt2Weights,
  ckptPt,
  tokenizeSpeed,
  largeText,
  killPrepare,
  killResume,
  everyEnd,
  devicesProof,
  fuzz,
  compilers,
  flatMemory,
  largeTokenFile,
  trainCharPeer,
  cpuDemo,
  cpuDemoPeer,
  cpuDemoSeeds,
  charWhole,
  appleDemo,
  livePage,
  attentionPage,
  benchmark,
  sampling,
  inductionHeads,
  scalingCoverage,
  scalingNext,
  scalingCurves,
  sweepOurs,
  sweepPlan,
  sweepKill,
  sweepSlurm,
  mutation,
  packaged,
  nodeVersions,
  cleanClone,
  webGpu,
];

const resultsFile = path.join(root, "test", "proofs", "results.json");

function readResults(): Results {
  return fs.existsSync(resultsFile) ? JSON.parse(fs.readFileSync(resultsFile, "utf8")) : {};
}

function writeResult(name: string, processor: string, result: Results[string][string]): void {
  const all = { ...readResults() };
  all[name] = { ...all[name], [processor]: result };
  const known = proofs.flatMap((proof) => (all[proof.name] ? [[proof.name, all[proof.name]]] : []));
  fs.writeFileSync(`${resultsFile}.partial`, `${JSON.stringify(Object.fromEntries(known), null, 2)}\n`);
  fs.renameSync(`${resultsFile}.partial`, resultsFile);
}

function sourcesOf({ name, inputs }: Proof): string {
  const kept = ["proof", "readme", "run", "sources"].map((file) => `test/proofs/${file}.ts`);
  return fingerprint(root, { proof: `test/proofs/${name}.ts`, inputs, leaveOut: kept });
}

async function prove(proof: Proof): Promise<boolean> {
  const folder = path.join(root, ".cache", "proofs", proof.name);
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  const before = { date: new Date().toISOString(), commit: commit(), versions: versions(), machine: machine() };
  const sources = sourcesOf(proof);
  const begun = performance.now();
  const { holds, figures } = await proof.run({ folder, say: (line) => console.log(`  ${line}`) });
  const minutes = rounded((performance.now() - begun) / 60_000, 2);
  writeResult(proof.name, processorName(), { claim: proof.claim, holds, figures, minutes, ...before, sources });
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

/** One line per proof and processor: what was measured when; or only results of older sources. */
function list({ staleOnly }: { staleOnly: boolean }): void {
  const results = readResults();
  for (const proof of proofs) {
    const sources = staleOnly ? sourcesOf(proof) : undefined;
    const measured = Object.entries(results[proof.name] ?? {});
    if (measured.length === 0) console.log(`${proof.name}: never measured`);
    for (const [processor, { holds, date, commit, sources: then }] of measured) {
      if (staleOnly && then === sources) continue;
      const since = staleOnly ? `; its sources ${then ? "have changed since" : "then are not known"}` : "";
      const what = holds ? "holds" : "DOES NOT HOLD";
      console.log(`${proof.name}: ${what}, ${processor}, ${date.slice(0, 10)}, commit ${commit}${since}`);
    }
  }
}

async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => arg !== "--stale");
  const unknown = names.find((arg) => !proofs.some(({ name }) => name === arg));
  if (unknown) {
    console.error(`Cannot prove ${unknown}: there are ${proofs.map(({ name }) => name).join(", ")}; and --stale.`);
    return 2;
  }
  if (names.length === 0) list({ staleOnly: args.includes("--stale") });
  let failed = 0;
  for (const proof of proofs.filter(({ name }) => names.includes(name))) {
    console.log(`${proof.name}: ${proof.claim}`);
    try {
      const holds = await prove(proof);
      console.log(`${proof.name}: ${holds ? "holds" : "DOES NOT HOLD"}`);
      if (!holds) failed++;
    } catch (error) {
      console.error(`${proof.name}: could not be measured: ${(error as Error).message}`);
      failed++;
    }
  }
  updateReadme(readResults());
  return failed > 0 ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
