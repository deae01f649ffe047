/**
 * Stops a long command (train, prepare, scaling run) without losing its work, on a signal or when its output is closed.
 * The command itself listens to the AbortSignal and saves.
 */
import type { Io, Output } from "./terminal.js";

const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof exitCodes;
const signals = Object.keys(exitCodes) as StopSignal[];

/**
 * A second signal within this time of the first is ignored: npm passes Ctrl-C on to a program that has also received it
 * from the terminal.
 */
const sameWishMs = 500;

/** The reason to stop, which a long command listens for, and closes at its end. */
export interface Stop {
  readonly signal: AbortSignal;
  /** 128 plus the signal's number; 141 for a closed pipe, 1 for a full device. Undefined if nothing has stopped it. */
  exitCode(): number | undefined;
  /** The output for messages: standard error, if standard output was lost. */
  heard(io: Io): Output;
  close(): void;
}

/**
 * The first reason stops the work, which saves; a second Ctrl-C or SIGTERM ends the process. A second SIGHUP does not,
 * since a closing terminal sends it twice.
 * @param announce is called with the signal's name, or with the problem of standard output
 */
export function stopOnSignals({ onLost }: Pick<Io, "onLost">, announce: (reason: string) => void): Stop {
  const controller = new AbortController();
  let exitCode: number | undefined;
  let askedAt = Number.POSITIVE_INFINITY;
  const stop = (reason: string, code: number) => {
    if (controller.signal.aborted) return;
    exitCode = code;
    announce(reason);
    controller.abort();
  };
  const listener = (signal: NodeJS.Signals) => {
    const now = performance.now();
    if (signal !== "SIGHUP" && now - askedAt >= sameWishMs) {
      // Without listeners the signal has its default effect and ends the process, whose child processes notice their
      // closed pipes.
      close();
      process.kill(process.pid, signal);
      return;
    }
    if (signal !== "SIGHUP") askedAt = Math.min(askedAt, now);
    stop(signal, exitCodes[signal as StopSignal]);
  };
  const close = () => {
    for (const signal of signals) process.off(signal, listener);
  };
  for (const signal of signals) process.on(signal, listener);
  let lost = false;
  // Kept until the command's end, even after close(), so that it ends with its own exit code.
  onLost?.(({ found, exitCode }) => {
    lost = true;
    stop(found, exitCode);
  });
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    heard: ({ stdout, stderr }) => (lost ? stderr : stdout),
    close,
  };
}
