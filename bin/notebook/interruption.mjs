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

/** How long a cell may take to come back to work that would save, but waits for the cell. */
const idleMs = 1000;

/**
 * What the two threads tell each other (control.mjs): whether the control channel is closed, whether the kernel runs a cell
 * (what else it does is not to be ended half-way), and whether what it ran was ended from there.
 */
export const flags = /** @type {const} */ ({ closed: 0, inCell: 1, ended: 2 });

export function createInterruption() {
  let controller = new AbortController();
  /** @type {Set<(reason: unknown) => void>} */
  const waiting = new Set();
  /** @type {Set<{ busy: boolean }>} */
  const holding = new Set();
  /** Whether what holds without being busy has had its time. */
  let late = false;
  /** @type {(() => void) | undefined} */
  let stopped;
  const state = new Int32Array(new SharedArrayBuffer(12));

  /** @returns {boolean} */
  const held = () => (late ? [...holding].some(({ busy }) => busy) : holding.size > 0);

  /** Once nothing holds any more, no cell waits any longer. */
  function stopWaiting() {
    if (!controller.signal.aborted || held()) return;
    for (const reject of waiting) reject(controller.signal.reason);
    waiting.clear();
    stopped?.();
  }

  /**
   * The value, or the interrupt if that comes first.
   * @param {unknown} value
   */
  function until(value) {
    if (controller.signal.aborted && !held()) return Promise.reject(controller.signal.reason);
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
    /** @param {boolean} now whether a cell runs from here on */
    inCell(now) {
      Atomics.store(state, flags.inCell, now ? 1 : 0);
    },
    /** Whether what ran was ended by the control channel, since this was last asked. */
    wasEnded() {
      return Atomics.exchange(state, flags.ended, 0) === 1;
    },
    /**
     * Work of the kernel's own, which is not to be ended half-way.
     * @template T
     * @param {() => T} work
     */
    aside(work) {
      const before = Atomics.exchange(state, flags.inCell, 0);
      try {
        return work();
      } finally {
        Atomics.store(state, flags.inCell, before);
      }
    },
    get signal() {
      return controller.signal;
    },
    /** Work that has something to save takes this first, and calls what it gets when it has ended. */
    hold() {
      const hold = {
        busy: true,
        release() {
          // Once the cell has what the work ends with, which says more than an interrupt.
          if (holding.delete(hold)) setImmediate(stopWaiting);
        },
      };
      holding.add(hold);
      return hold;
    },
    /** Stops all that runs; resolves when no cell waits any more. */
    interrupt() {
      /** @type {Promise<void>} */
      const done = new Promise((resolve) => {
        stopped = resolve;
      });
      if (!controller.signal.aborted) controller.abort(new Interrupted());
      setTimeout(() => {
        late = controller.signal.aborted;
        stopWaiting();
      }, idleMs).unref();
      stopWaiting();
      return done;
    },
    /** Before the next cell. */
    reset() {
      if (controller.signal.aborted) controller = new AbortController();
      late = false;
    },
  };
}
