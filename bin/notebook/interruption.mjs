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

/** How long to wait for a cell that must resume before held work can save. */
const idleMs = 1000;

/**
 * Flags shared with the control channel's thread (control.mjs): whether that channel is closed, whether the kernel is
 * running a cell (other work must not be ended half-way), and whether a cell was ended from there.
 */
export const flags = /** @type {const} */ ({ closed: 0, inCell: 1, ended: 2 });

export class Interruption {
  /** The flags; a thread can wait for them. */
  state = new Int32Array(new SharedArrayBuffer(12));
  #controller = new AbortController();
  /** @type {Set<(reason: unknown) => void>} */
  #waiting = new Set();
  /** @type {Set<{ busy: boolean }>} */
  #holding = new Set();
  /** Whether the time for holds that are not busy is over. */
  #late = false;
  /** @type {(() => void) | undefined} */
  #stopped;

  get signal() {
    return this.#controller.signal;
  }

  /**
   * The value, or a rejection if the interrupt comes first.
   * @param {unknown} value
   */
  until = (value) => {
    if (this.signal.aborted && !this.#held()) return Promise.reject(this.signal.reason);
    const then = value !== null && typeof value === "object" && /** @type {{ then?: unknown }} */ (value).then;
    if (typeof then !== "function") return value;
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      const settle = (/** @type {(result: any) => void} */ end) => (/** @type {unknown} */ result) => {
        this.#waiting.delete(reject);
        end(result);
      };
      Promise.resolve(value).then(settle(resolve), settle(reject));
    });
  };

  /**
   * The same values until an interrupt, which also ends their source.
   * @param {any} iterable
   */
  each = (iterable) => {
    const asynchronous = iterable?.[Symbol.asyncIterator];
    if (!asynchronous) return iterable; // not asynchronous: each of its values is awaited separately
    return { [Symbol.asyncIterator]: () => this.#interruptible(asynchronous.call(iterable)) };
  };

  /** @param {AsyncIterator<unknown>} iterator */
  #interruptible(iterator) {
    return {
      next: async () => {
        try {
          return await this.until(iterator.next());
        } catch (error) {
          // A loop does not call return() on an iterator whose next() fails.
          if (error instanceof Interrupted) Promise.resolve(iterator.return?.()).catch(() => {});
          throw error;
        }
      },
      return: async (/** @type {unknown} */ value) => (await iterator.return?.(value)) ?? { done: true, value },
    };
  }

  /** @param {boolean} now whether a cell is now running */
  inCell(now) {
    Atomics.store(this.state, flags.inCell, now ? 1 : 0);
  }

  /** Whether the control channel has ended a cell since the last call. */
  wasEnded() {
    return Atomics.exchange(this.state, flags.ended, 0) === 1;
  }

  /**
   * Runs the kernel's own work, which must not be ended half-way.
   * @template T
   * @param {() => T} work
   */
  aside(work) {
    const before = Atomics.exchange(this.state, flags.inCell, 0);
    try {
      return work();
    } finally {
      Atomics.store(this.state, flags.inCell, before);
    }
  }

  /** Taken by work that saves on an interrupt, and released when it has ended. */
  hold() {
    const hold = {
      busy: true,
      release: () => {
        // After the cell has received the work's own error, which says more than an interrupt.
        if (this.#holding.delete(hold)) setImmediate(() => this.#stopWaiting());
      },
    };
    this.#holding.add(hold);
    return hold;
  }

  /** Stops everything that is running; resolves when no cell waits any more. */
  interrupt() {
    /** @type {Promise<void>} */
    const done = new Promise((resolve) => {
      this.#stopped = resolve;
    });
    if (!this.signal.aborted) this.#controller.abort(new Interrupted());
    setTimeout(() => {
      this.#late = this.signal.aborted;
      this.#stopWaiting();
    }, idleMs).unref();
    this.#stopWaiting();
    return done;
  }

  /** To be called before the next cell. */
  reset() {
    if (this.signal.aborted) this.#controller = new AbortController();
    this.#late = false;
  }

  /** @returns {boolean} */
  #held() {
    return this.#late ? [...this.#holding].some(({ busy }) => busy) : this.#holding.size > 0;
  }

  /** Ends the waiting of cells once there are no holds. */
  #stopWaiting() {
    if (!this.signal.aborted || this.#held()) return;
    for (const reject of this.#waiting) reject(this.signal.reason);
    this.#waiting.clear();
    this.#stopped?.();
  }
}
