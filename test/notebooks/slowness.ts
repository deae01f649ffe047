/** The current slowness of this machine. Budgets of notebooks are for an idle machine; this one may be old or busy. */
import { spawn } from "node:child_process";

/** A process that starts and computes for a quarter of a second. */
const work =
  "let x = 1; for (let i = 0; i < 1e8; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0; if (x === 7) console.log(x);";
/** The time of two such processes in parallel on two idle cores of an AMD EPYC, the machine of the budgets. */
const referenceMs = 300;

/** The time of two parallel processes here and now, divided by the time there; at least 1. */
export async function slowness(): Promise<number> {
  const begunMs = performance.now();
  const working = () =>
    new Promise<void>((resolve, reject) => {
      const child = spawn(process.execPath, ["-e", work], { stdio: "ignore" });
      child.once("error", reject);
      child.once("exit", () => resolve());
    });
  await Promise.all([working(), working()]);
  return Math.max(1, (performance.now() - begunMs) / referenceMs);
}
