/** The NVIDIA GPUs of this machine, as their driver tells of them, whether TensorFlow sees them or not. */
import { execFileSync } from "node:child_process";

/** A GPU by its driver. */
export interface NvidiaGpu {
  readonly name: string;
  readonly driver: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** What nvidia-smi tells; none where it is not there. */
export function nvidiaGpus(): NvidiaGpu[] {
  const query = "--query-gpu=name,driver_version,memory.total,memory.free";
  try {
    const csv = execFileSync("nvidia-smi", [query, "--format=csv,noheader,nounits"], {
      encoding: "utf8",
      timeout: 20_000,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return parseGpus(csv);
  } catch {
    return [];
  }
}

/** nvidia-smi's lines, memory in MiB. */
export function parseGpus(csv: string): NvidiaGpu[] {
  return csv
    .trim()
    .split("\n")
    .filter((line) => line.includes(","))
    .map((line) => {
      const [name = "", driver = "", total, free] = line.split(",").map((part) => part.trim());
      return { name, driver, totalBytes: Number(total) * 2 ** 20, freeBytes: Number(free) * 2 ** 20 };
    });
}
