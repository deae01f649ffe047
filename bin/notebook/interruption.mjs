/**
 * Stopping what runs in the kernel. Cells wait through `until` and `each` (cell-text.mjs puts them there), which an
 * interrupt rejects; Folio's own work listens to `signal`, and what saves before it ends is waited for while it holds.
 * It handles no signals and no messages; notebook-kernel.mjs does.
 */

/** Thrown into the cells that an interrupt stops. */
export class Interrupted extends Error {
  constructor() {
    super("The cell was interrupted.");
    this.name = "Interrupted";
  }
}

/** @typedef {ReturnType<typeof createInterruption>} Interruption */

/**
 * What the kernel's thread does, for that of the control channel (control.mjs): nothing of a cell; a cell, to its first
 * `await`; a cell, or what it waits for, after that.
 */
export const doing = /** @type {const} */ ({ nothing: 0, beginning: 1, going: 2 });

export function createInterruption() {
  let controller = new AbortController();
  /** @type {Set<(reason: unknown) => void>} */
  const waiting = new Set();
  /** @type {Set<object>} */
  const holding = new Set();
  /** @type {(() => void) | undefined} */
  let stopped;
  /** Whether the control channel's socket is closed, and what the kernel does. */
  const state = new Int32Array(new SharedArrayBuffer(8));

  /** Once nothing holds any more, no cell waits any longer. */
  function stopWaiting() {
    if (!controller.signal.aborted || holding.size > 0) return;
    for (const reject of waiting) reject(controller.signal.reason);
    waiting.clear();
    stopped?.();
  }

  /**
   * The value, or the interrupt if that comes first.
   * @param {unknown} value
   */
  function until(value) {
    if (controller.signal.aborted && holding.size === 0) return Promise.reject(controller.signal.reason);
    const then = value !== null && typeof value === "object" && /** @type {{ then?: unknown }} */ (value).then;
    if (typeof then !== "function") return value;
    return new Promise((resolve, reject) => {
      waiting.add(reject);
      Promise.resolve(value).then(
        (result) => {
          waiting.delete(reject);
          resolve(result);
        },
        (error) => {
          waiting.delete(reject);
          reject(error);
        },
      );
    });
  }

  /**
   * The same values, until an interrupt, which also ends what they come from.
   * @param {any} iterable
   */
  function each(iterable) {
    const asynchronous = iterable?.[Symbol.asyncIterator];
    if (!asynchronous) return iterable; // not endless waiting: each of its values is awaited as it comes
    return {
      [Symbol.asyncIterator]() {
        const iterator = asynchronous.call(iterable);
        return {
          async next() {
            try {
              return await until(iterator.next());
            } catch (error) {
              // A loop does not end an iterator whose next() fails.
              if (error instanceof Interrupted) Promise.resolve(iterator.return?.()).catch(() => {});
              throw error;
            }
          },
          return: async (/** @type {unknown} */ value) => (await iterator.return?.(value)) ?? { done: true, value },
        };
      },
    };
  }

  return {
    until,
    each,
    state,
    /** @param {number} now of `doing` */
    does(now) {
      Atomics.store(state, 1, now);
    },
    /**
     * Work of the kernel's own, which is not to be ended half-way.
     * @template T
     * @param {() => T} work
     */
    aside(work) {
      const before = Atomics.exchange(state, 1, doing.nothing);
      try {
        return work();
      } finally {
        Atomics.store(state, 1, before);
      }
    },
    get signal() {
      return controller.signal;
    },
    /** Work that has something to save takes this first, and calls what it gets when it has ended. */
    hold() {
      const held = {};
      holding.add(held);
      return () => {
        if (holding.delete(held)) stopWaiting();
      };
    },
    /** Stops all that runs; resolves when no cell waits any more. */
    interrupt() {
      /** @type {Promise<void>} */
      const done = new Promise((resolve) => {
        stopped = resolve;
      });
      if (!controller.signal.aborted) controller.abort(new Interrupted());
      stopWaiting();
      return done;
    },
    /** Before the next cell. */
    reset() {
      if (controller.signal.aborted) controller = new AbortController();
    },
  };
}
