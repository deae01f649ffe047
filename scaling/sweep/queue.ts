/** A queue that callbacks push to, as an async iterable. */
export function openQueue<Item>() {
  const queue: Item[] = [];
  let wake = () => {};
  let closed = false;
  let failure: unknown;
  const finish = () => {
    closed = true;
    wake();
  };
  return {
    push(item: Item) {
      queue.push(item);
      wake();
    },
    close: finish,
    fail(error: unknown) {
      failure = error;
      finish();
    },
    async *items(): AsyncGenerator<Item> {
      for (;;) {
        yield* queue.splice(0);
        if (queue.length > 0) continue;
        if (failure) throw failure;
        if (closed) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
