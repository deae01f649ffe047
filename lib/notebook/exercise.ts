/**
 * Exercises in a notebook: a question, a check of the learner's answer, and hints for an answer whose mistake has no name.
 * The notebooks that teach end with some; test/notebooks/answers/ has right and wrong answers to each.
 */
import { escapeHtml } from "../charts/html-page.js";
import { type MimeBundle, notebookKernel } from "../host/notebook.js";

/** What an exercise is made of. */
export interface ExerciseOptions<Answer> {
  /** The question. */
  readonly ask: string;
  /** True for a right answer; false, or a sentence that says what is wrong with it, for any other. */
  readonly check: (answer: Answer) => boolean | string | Promise<boolean | string>;
  /** From the gentlest to the plainest. */
  readonly hints: readonly string[];
}

/** What became of an answer. A notebook shows nothing for it, because check() has shown its message. */
export interface Verdict {
  readonly right: boolean;
  /** What the learner reads. */
  readonly message: string;
}

/** An exercise; as the last expression of a cell it shows its question. */
export interface Exercise<Answer> {
  readonly ask: string;
  /**
   * Checks an answer and shows that it is right, or what is wrong with it, or else the next hint. An error in the check is a
   * wrong answer.
   */
  check(answer: Answer): Promise<Verdict>;
  /** Shows the next hint. */
  hint(): void;
  bundle(): MimeBundle;
}

/**
 * An exercise.
 * @throws {RangeError} without a question or hints
 * @example
 * const halve = exercise({ ask: "What is half of 6?", check: (x: number) => x === 3, hints: ["6 = 2 × ?"] });
 * await halve.check(3); // { right: true, … }
 */
export function exercise<Answer>({ ask, check, hints }: ExerciseOptions<Answer>): Exercise<Answer> {
  if (ask.trim() === "" || hints.length === 0)
    throw new RangeError("Cannot make an exercise: wanted a question (ask) and at least one hint.");
  let shown = 0;
  const nextHint = () => {
    const hint = hints[shown];
    if (hint === undefined) return `There is no further hint. The last one was: ${hints.at(-1)}`;
    shown++;
    return `Hint: ${hint}`;
  };
  const verdictOf = async (answer: Answer): Promise<Verdict> => {
    let result: boolean | string;
    try {
      result = await check(answer);
    } catch (error) {
      result = error instanceof Error ? error.message : String(error);
    }
    if (result === true) return { right: true, message: "✓ Right." };
    return { right: false, message: result === false ? `✗ Not yet.\n${nextHint()}` : `✗ Not yet: ${result}` };
  };
  return {
    ask,
    async check(answer) {
      const verdict = await verdictOf(answer);
      display(verdict.message);
      return Object.defineProperty(verdict, "bundle", { value: (): MimeBundle => ({}) });
    },
    hint: () => display(nextHint()),
    bundle: () => textBundle(`Exercise. ${ask}`),
  };
}

const textBundle = (text: string): MimeBundle => {
  const lines = text.split("\n").map(escapeHtml).join("<br>");
  const style = "border-left:3px solid #2b7bba;padding:.3em .8em;margin:.3em 0";
  return { "text/html": `<div style="${style}">${lines}</div>`, "text/plain": text };
};

function display(text: string): void {
  const kernel = notebookKernel();
  if (kernel) kernel.display(textBundle(text));
  else console.log(text);
}
