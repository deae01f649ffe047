/**
 * A process that does one run of a sweep: `node run-process.js PLAN FOLDER RUN [DATADIR]`. It reports its progress as
 * one JSON object per line. On SIGTERM or SIGINT, or when its parent is gone (its standard input ends), it saves a
 * checkpoint and stops. Exit codes: 0 finished, 1 failed, 75 held by another process, 130 interrupted.
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
  process.exit(exitCodes[outcome.state]);
} catch (error) {
  // The sweep reports the last line of the output if the process leaves no other message.
  console.error(process.env.FOLIO_DEBUG === "1" ? error : (error as Error).message);
  process.exit(exitCodes.failed);
}
