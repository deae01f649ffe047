/** How slow this machine is right now: notebooks' budgets are of an idle machine, and this one may be old, or busy. */
import { spawn } from "node:child_process";

/** A process that starts, and computes for a quarter of a second. */
const work =
  "let x = 1; for (let i = 0; i < 1e8; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0; if (x === 7) console.log(x);";
/** What two of it side by side take on two idle cores of an AMD EPYC, on which the budgets were made. */
const referenceMs = 300;

/** How many times as long as there two processes take here and now, side by side as a kernel and what it starts are; at least 1. */
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
