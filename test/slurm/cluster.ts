/** Slurm on this machine, for tests that need the real one; start.sh says what it needs. */
import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";

const script = (name: string) => path.join(import.meta.dirname, name);
const installed = !spawnSync("slurmctld", ["-V"]).error && !spawnSync("munged", ["--version"]).error;

/** Why there is no Slurm here; undefined if it can be started. */
export const missingSlurm = !installed
  ? "Slurm and munge are not installed"
  : process.getuid?.() !== 0
    ? "Slurm's test needs root"
    : undefined;

export const slurmIsInstalled = installed;

/** Starts Slurm, whose commands find it by SLURM_CONF. @returns what ends it */
export function startSlurm(folder: string): () => void {
  process.env.SLURM_CONF = execFileSync("sh", [script("start.sh"), folder], { encoding: "utf8" }).trim();
  return () => void spawnSync("sh", [script("stop.sh"), folder]);
}
