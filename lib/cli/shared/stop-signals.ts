/**
 * How a long command (train, prepare, scaling run) is stopped from outside without losing what it has: by a signal, or by
 * the end of whoever read its output. It saves nothing itself: whoever works looks at the signal.
 */
import type { Io, Output } from "./terminal.js";

const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
type StopSignal = keyof typeof exitCodes;
const signals = Object.keys(exitCodes) as StopSignal[];

/**
 * Within this time of the first, a second one is the same wish: npm passes Ctrl-C on to a program that the terminal has
 * sent it to as well.
 */
const sameWishMs = 500;

/** Why to stop, as something that a long command asks for, listens to and closes. */
export interface Stop {
  readonly signal: AbortSignal;
  /** 128 and the signal's number; 141 for a closed pipe, 1 for a device that is full. Undefined while nothing stops it. */
  exitCode(): number | undefined;
  /** Where people still hear what is said: standard error, when standard output was the reason. */
  heard(io: Io): Output;
  close(): void;
}

/**
 * The first reason stops the work, which saves; a second Ctrl-C or SIGTERM ends the process. A second SIGHUP does not: a
 * terminal that closes sends it from two sides.
 * @param announce is given the signal's name, or what is wrong with standard output
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
      // With no listener left the signal does what it does by default: it ends the process, whatever that is doing, and
      // processes of its own notice that nobody hears them.
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
  // Until the command's end, close() or not: it shall end with its own exit code.
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
