/**
 * A process that does one run of a sweep: `node sweep.js PLAN FOLDER RUN [DATADIR]`. It tells how far it is as a JSON
 * object a line, stops at SIGTERM, SIGINT and when whoever started it is gone (its standard input ends), saving before it
 * does, and ends with 0 finished, 1 failed, 75 held by another, 130 interrupted.
 */
import { loadPlan } from "../plan.js";
import { doRun, exitCodes } from "./find-run.js";

const [plan, folder, run, dataDir] = process.argv.slice(2);
const controller = new AbortController();
const stop = () => controller.abort();
process.on("SIGTERM", stop);
process.on("SIGINT", stop);
process.stdin.on("end", stop).on("error", stop).resume();
process.stdout.on("error", stop);

const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`);
let saidAt = 0;
try {
  const outcome = await doRun(loadPlan(plan!), {
    folder: folder!,
    run: run!,
    ...(dataDir === undefined ? {} : { dataDir }),
    signal: controller.signal,
    onRecord(record) {
      if (record.kind !== "iter" || performance.now() - saidAt < 300) return;
      saidAt = performance.now();
      say({ step: record.step + 1, loss: record.loss });
    },
  });
  if (outcome.state === "failed") say({ failed: outcome.message });
  process.exit(exitCodes[outcome.state]);
} catch (error) {
  // The last line of what it says is what the sweep tells of a process that left no message.
  console.error(process.env.FOLIO_DEBUG === "1" ? error : (error as Error).message);
  process.exit(exitCodes.failed);
}
