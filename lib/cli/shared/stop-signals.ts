/**
 * How a long command (train, scaling run) is stopped from outside without losing what it has. It saves nothing itself:
 * whoever works looks at the signal.
 */

/** Ctrl-C and SIGTERM as something that a long command asks for, listens to and closes. */
export interface Stop {
  readonly signal: AbortSignal;
  exitCode(): number | undefined;
  close(): void;
}

/** The first signal stops the work, which saves; the second ends the process. */
export function stopOnSignals(announce: (signal: "SIGINT" | "SIGTERM") => void): Stop {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listener = (signal: NodeJS.Signals) => {
    if (signal !== "SIGINT" && signal !== "SIGTERM") return;
    if (controller.signal.aborted) {
      // With no listener left the signal does what it does by default: it ends the process, whatever that is doing, and
      // processes of its own notice that nobody hears them.
      close();
      process.kill(process.pid, signal);
      return;
    }
    exitCode = signal === "SIGINT" ? 130 : 143;
    announce(signal);
    controller.abort();
  };
  const close = () => {
    process.off("SIGINT", listener);
    process.off("SIGTERM", listener);
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return { signal: controller.signal, exitCode: () => exitCode, close };
}
