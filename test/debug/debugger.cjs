/**
 * A debugger, loaded with `--require` into the process that it debugs: a worker that speaks Chrome's DevTools protocol
 * to the main thread, as VS Code does over a port. It sets one breakpoint (FOLIO_BREAKPOINT, JSON: a pattern of the
 * file's URL and a line from 0) and writes where the main thread first stopped, and what it saw there, to a file.
 */
const fs = require("node:fs");
const { Session } = require("node:inspector");
const { isMainThread, parentPort, Worker } = require("node:worker_threads");

const wanted = JSON.parse(process.env.FOLIO_BREAKPOINT ?? "null");

if (wanted && isMainThread) {
  const worker = new Worker(__filename, { execArgv: [] });
  /** Resolves when the breakpoint is set. */
  Object.assign(globalThis, { breakpointSet: new Promise((resolve) => worker.once("message", resolve)) });
  worker.once("message", () => worker.unref());
} else if (wanted && !isMainThread) {
  const session = new Session();
  /** @type {(method: string, params?: object) => Promise<any>} */
  const post = (method, params) =>
    new Promise((resolve, reject) =>
      session.post(method, params, (error, result) => (error ? reject(error) : resolve(result))),
    );
  parentPort?.on("message", () => {}); // a session alone does not keep the worker alive
  session.connectToMainThread();
  session.on("Debugger.paused", async ({ params }) => {
    const [frame] = params.callFrames;
    if (!frame) return;
    const { result } = await post("Debugger.evaluateOnCallFrame", {
      callFrameId: frame.callFrameId,
      expression: wanted.expression,
      returnByValue: true,
    });
    const { functionName, location, url } = frame;
    const stop = { functionName, url, line: location.lineNumber, column: location.columnNumber, value: result.value };
    fs.writeFileSync(wanted.file, JSON.stringify(stop));
    await post("Debugger.disable"); // no more breakpoints
  });
  post("Debugger.enable")
    .then(() => post("Debugger.setBreakpointByUrl", { urlRegex: wanted.urlRegex, lineNumber: wanted.line }))
    .then(() => parentPort?.postMessage("set"));
}
