/** A tour of eight stations: at each, one sentence and one thing to try. */
import type { ComponentChildren } from "preact";
import { type Element, h } from "../../page/parts/element.js";
import { Button, Controls } from "../../page/parts/widgets.js";

export interface Station {
  readonly title: string;
  /** The card that it points at. */
  readonly card: string;
  readonly sentence: string;
  readonly attempt: string;
  /** A prompt that shows it well; offered if the model knows its characters. */
  readonly prompt?: string;
}

/** Nonsense, three times: only copying helps. */
const repeated = "vKq7 mZp3 xWt vKq7 mZp3 xWt vKq7 mZp3 xWt";

/** The stations for a model; `unit` is what its tokens are. */
export const stations = (unit: string): readonly Station[] => [
  {
    title: "Text becomes tokens",
    card: "tokens",
    sentence: `The model reads a text as a row of tokens, here ${unit}; each token is a number to it, and a space is one too (␣).`,
    attempt: "Type one more letter at the end of the prompt: it gets a box here, and a number below.",
  },
  {
    title: "It guesses what comes next",
    card: "next",
    sentence:
      "The model gives every token that it knows a probability of coming next; together they are 100 %, and the likeliest have a bar here.",
    attempt: "Delete the last letters of a word one by one, and see when the model is surest how it goes on.",
  },
  {
    title: "A surprise is a number",
    card: "tokens",
    sentence:
      "The loss of a token is −ln of the probability that the model gave it: 0 if it was sure of it, and the more, the greater the surprise; the darker its box.",
    attempt: "Replace a letter in the middle of a word by a z, and look at its box and at the one after it.",
  },
  {
    title: "Attention looks back",
    card: "attention",
    sentence:
      "The model has layers, and each layer has heads. A head lets each position take something over from itself and from earlier positions; a row of the picture says how much from where, and adds up to 100 %.",
    attempt:
      "Choose the small pictures one after the other: is there a dark line just below the diagonal? That head looks at the token before.",
  },
  {
    title: "Heads have jobs",
    card: "switches",
    sentence:
      "Without a head the others have to do. If the mean loss rises, the text needed that head; if not, it did not.",
    attempt:
      "Press “Use the text”: nonsense, three times. Switch each head off and on again, and read the mean loss below the switches: which heads does the model need for copying?",
    prompt: repeated,
  },
  {
    title: "Layers add to one vector",
    card: "residual",
    sentence:
      "Each position has one list of numbers, the residual stream, to which attention (resid_mid) and the rest of each layer (resid_out) add something; the guess is read from its last state.",
    attempt:
      "Turn on the logit lens, and read a column from “embed” at the bottom to the top: each row is the guess if the model stopped there.",
  },
  {
    title: "Writing is drawing lots",
    card: "writing",
    sentence:
      "To write, one token is drawn by its probability and added to the prompt, and everything begins again. A low temperature makes unlikely tokens rarer.",
    attempt: "Set the temperature in this card to 0.2 and press “Write on”; then do the same with 1.5.",
  },
  {
    title: "Training moves the weights",
    card: "training",
    sentence:
      "Training changes every weight a little, so that the loss of the text that it is given falls; thousands of such updates made this model.",
    attempt:
      "Put a sentence of your own into the box, press “One update” until the loss is below 1, and read what the model writes now.",
  },
];

export function Tour(props: {
  stations: readonly Station[];
  at: number;
  onAt: (at: number | undefined) => void;
  /** Puts a text into the prompt; undefined if the model does not know its characters. */
  onPrompt: (prompt: string) => (() => void) | undefined;
  /** The prompt, which stays in sight. */
  children?: ComponentChildren;
}): Element {
  const { at, onAt, onPrompt, children } = props;
  const { title, sentence, attempt, prompt } = props.stations[at]!;
  const use = prompt === undefined ? undefined : onPrompt(prompt);
  return h(
    "section",
    { class: "card tour", "aria-label": "Tour" },
    h("h2", { "aria-live": "polite" }, `${at + 1} of ${props.stations.length}: ${title}`),
    h(
      "div",
      { class: "station" },
      h("div", {}, h("p", {}, sentence), h("p", { class: "try" }, `Try: ${attempt}`)),
      h("div", {}, children),
    ),
    h(
      Controls,
      {},
      use && h(Button, { label: "Use the text", onPress: use }),
      h(Button, { label: "Back", onPress: () => onAt(at - 1), disabled: at === 0 }),
      at < props.stations.length - 1
        ? h(Button, { label: "Next station", onPress: () => onAt(at + 1) })
        : h(Button, { label: "End the tour", onPress: () => onAt(undefined) }),
      h(Button, { label: "Close", onPress: () => onAt(undefined) }),
    ),
  );
}
