/** A test in an endless loop ends, with its name. */
import { expect, test } from "vitest";
import { ended, startChild } from "./tiny-run.js";

test("what does not return within the limit is killed and named", async () => {
  const child = startChild(
    `const { watch } = await load("test/watch.ts");
    const begins = await watch(300);
    begins("some.test.ts: a longer name than that of the one that hangs");
    begins("some.test.ts: counts für immer");
    for (;;);`,
    null,
  );
  expect(await ended(child)).toEqual({ code: null, signal: "SIGKILL" });
  expect(child.output()).toContain("hangs: some.test.ts: counts für immer\n");
});
