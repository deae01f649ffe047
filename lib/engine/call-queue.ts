/** Calls of one session, one after another; nothing else of TensorFlow is known here. */
export interface Queue {
  /** Runs `action` after what was asked before. Refused once the queue is closed, for those that still wait too. */
  add<T>(action: () => Promise<T>): Promise<T>;
  /** Closes it and resolves when the action under way has ended; nothing when it was closed before. */
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
