/** Exercises: right and wrong answers, hints in their order, and what a notebook shows. */
import { expect, test, vi } from "vitest";
import { exercise } from "../../lib/notebook/exercise.js";
import { describeValue } from "../../lib/notebook/values.js";

const half = () =>
  exercise({
    ask: "What is half of <6>?",
    check(answer: number) {
      if (typeof answer !== "number") throw new TypeError("wanted a number");
      return answer > 3 ? `${answer} is too large` : answer === 3;
    },
    hints: ["divide by two", "it is three"],
  });

test("says that a right answer is right", async () => {
  vi.spyOn(console, "log").mockReturnValue();
  expect(await half().check(3)).toEqual({ right: true, message: "✓ Right." });
});

test("says what is wrong; where it cannot, gives the next hint, and says when there is no further one", async () => {
  const log = vi.spyOn(console, "log").mockReturnValue();
  const one = half();
  expect((await one.check(2)).message).toBe("✗ Not yet.\nHint: divide by two");
  expect((await one.check(7)).message).toBe("✗ Not yet: 7 is too large");
  expect((await one.check("x" as never)).message).toBe("✗ Not yet: wanted a number");
  one.hint();
  expect(log.mock.lastCall).toEqual(["Hint: it is three"]);
  expect((await one.check(2)).message).toBe("✗ Not yet.\nThere is no further hint. The last one was: it is three");
});

test("shows what became of an answer once: the result itself shows as nothing, and keeps its fields", async () => {
  const display = vi.fn();
  const kernel = Symbol.for("folio.kernel");
  Object.defineProperty(globalThis, kernel, { value: { display }, configurable: true });
  const verdict = await half()
    .check(7)
    .finally(() => Reflect.deleteProperty(globalThis, kernel));
  expect(display.mock.calls).toEqual([[expect.objectContaining({ "text/plain": "✗ Not yet: 7 is too large" })]]);
  expect(describeValue(verdict)).toEqual({});
  expect({ ...verdict }).toEqual({ right: false, message: "✗ Not yet: 7 is too large" });
});

test("shows its question as the last expression of a cell, as text", () => {
  expect(describeValue(half())).toEqual({
    "text/html": expect.stringContaining("Exercise. What is half of &lt;6&gt;?"),
    "text/plain": "Exercise. What is half of <6>?",
  });
});

test("needs a question and a hint", () => {
  expect(() => exercise({ ask: " ", check: () => true, hints: ["a"] })).toThrow("wanted a question (ask)");
  expect(() => exercise({ ask: "?", check: () => true, hints: [] })).toThrow("at least one hint");
});
