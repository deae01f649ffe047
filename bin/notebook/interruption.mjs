/**
 * Interrupts running code in the kernel. Cells wait through `until` and `each` (inserted by cell-text.mjs), which an
 * interrupt rejects. Folio's own work listens to `signal`; work that saves before it ends takes a hold, and is waited
 * for. notebook-kernel.mjs handles the signals and messages.
 */

/** Thrown into the cells that an interrupt stops. */
export class Interrupted extends Error {
  constructor() {
    super("The cell was interrupted.");
    this.name = "Interrupted";
  }
}

/** @typedef {ReturnType<typeof createInterruption>} Interruption */

/** How long to wait for a cell that must resume before held work can save. */
const idleMs = 1000;

/**
 * Flags shared with the control channel's thread (control.mjs): whether that channel is closed, whether the kernel is
 * running a cell (other work must not be ended half-way), and whether a cell was ended from there.
 */
export const flags = /** @type {const} */ ({ closed: 0, inCell: 1, ended: 2 });

export function createInterruption() {
  let controller = new AbortController();
  /** @type {Set<(reason: unknown) => void>} */
  const waiting = new Set();
  /** @type {Set<{ busy: boolean }>} */
  const holding = new Set();
  /** Whether the time for holds that are not busy is over. */
  let late = false;
  /** @type {(() => void) | undefined} */
  let stopped;
  const state = new Int32Array(new SharedArrayBuffer(12));

  /** @returns {boolean} */
  const held = () => (late ? [...holding].some(({ busy }) => busy) : holding.size > 0);

  /** Ends the waiting of cells once there are no holds. */
  function stopWaiting() {
    if (!controller.signal.aborted || held()) return;
    for (const reject of waiting) reject(controller.signal.reason);
    waiting.clear();
    stopped?.();
  }

  /**
   * The value, or a rejection if the interrupt comes first.
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
   * The same values until an interrupt, which also ends their source.
   * @param {any} iterable
   */
  function each(iterable) {
    const asynchronous = iterable?.[Symbol.asyncIterator];
    if (!asynchronous) return iterable; // not asynchronous: each of its values is awaited separately
    return {
      [Symbol.asyncIterator]() {
        const iterator = asynchronous.call(iterable);
        return {
          async next() {
            try {
              return await until(iterator.next());
            } catch (error) {
              // A loop does not call return() on an iterator whose next() fails.
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
    /** @param {boolean} now whether a cell is now running */
    inCell(now) {
      Atomics.store(state, flags.inCell, now ? 1 : 0);
    },
    /** Whether the control channel has ended a cell since the last call. */
    wasEnded() {
      return Atomics.exchange(state, flags.ended, 0) === 1;
    },
    /**
     * Runs the kernel's own work, which must not be ended half-way.
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
    /** Taken by work that saves on an interrupt, and released when it has ended. */
    hold() {
      const hold = {
        busy: true,
        release() {
          // After the cell has received the work's own error, which says more than an interrupt.
          if (holding.delete(hold)) setImmediate(stopWaiting);
        },
      };
      holding.add(hold);
      return hold;
    },
    /** Stops everything that is running; resolves when no cell waits any more. */
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
    /** To be called before the next cell. */
    reset() {
      if (controller.signal.aborted) controller = new AbortController();
      late = false;
    },
  };
}
