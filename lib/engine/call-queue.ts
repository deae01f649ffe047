/** Runs the calls of one session one after another. */
export interface Queue {
  /** Runs `action` after the earlier ones. Actions are refused once the queue is closed, including waiting ones. */
  add<T>(action: () => Promise<T>): Promise<T>;
  /** Closes the queue and resolves when the current action has ended; undefined if it was already closed. */
  close(): Promise<void> | undefined;
}

export function newQueue(): Queue {
  let closed = false;
  let running: Promise<void> = Promise.resolve();
  return {
    add(action) {
      const result = running.then(() => {
        if (closed) throw new Error("Cannot run a step: the session was disposed of.");
        return action();
      });
      running = result.then(
        () => {},
        () => {},
      );
      return result;
    },
    close() {
      if (closed) return undefined;
      closed = true;
      return running;
    },
  };
}
