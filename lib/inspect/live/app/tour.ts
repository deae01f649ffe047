/** A tour of eight stations: at each, one sentence and one thing to try. */
import { type Element, h } from "../../page/parts/element.js";
import { Button, Controls } from "../../page/parts/widgets.js";

export interface Station {
  readonly title: string;
  /** The card that it points at. */
  readonly card: string;
  readonly sentence: string;
  readonly attempt: string;
}

/** The stations for a model; `unit` is what its tokens are. */
export const stations = (unit: string): readonly Station[] => [
  {
    title: "Text becomes tokens",
    card: "prompt",
    sentence: `The model reads a text as a row of tokens, here ${unit}, each of which is a number to it.`,
    attempt: "Type one more letter and find its box among the tokens.",
  },
  {
    title: "It guesses what comes next",
    card: "next",
    sentence:
      "After the last token the model gives every token that it knows a probability of coming next; together they are 100 %.",
    attempt: "Delete the end of a word and see whether the model knows how it goes on.",
  },
  {
    title: "It can be wrong, and that is measured",
    card: "tokens",
    sentence:
      "The loss of a token is −ln of the probability that the model gave it: 0 if it was sure of it, and more, the greater the surprise.",
    attempt: "Misspell a word and look for the darkest box.",
  },
  {
    title: "Attention looks back",
    card: "attention",
    sentence:
      "In each layer several heads decide how much each position takes over from every earlier one; a row of the picture adds up to 100 %.",
    attempt: "Choose heads one after the other and find one that looks at the token just before.",
  },
  {
    title: "Heads have jobs",
    card: "switches",
    sentence: "Without a head, the others have to do: if the loss hardly changes, the text did not need it.",
    attempt: "Switch off heads one by one and find the one whose loss costs most.",
  },
  {
    title: "Layers add to one vector",
    card: "residual",
    sentence:
      "Each position has one vector, the residual stream, to which every layer adds what it has found; the output is read from its end.",
    attempt: "Turn on the logit lens and follow one column upwards, from a guess to the answer.",
  },
  {
    title: "Writing is drawing lots",
    card: "writing",
    sentence:
      "To write, one token is drawn by its probability, added to the text, and everything begins again; the temperature makes unlikely tokens rarer or likelier.",
    attempt: "Press “Write on” with a temperature of 0.2, and again with 1.5.",
  },
  {
    title: "Training moves the weights",
    card: "training",
    sentence:
      "Training changes every weight a little, so that the loss of the text it is given falls; thousands of such updates made this model.",
    attempt: "Put a sentence of your own into the box, train until the loss is below 1, and let the model write.",
  },
];

export function Tour(props: {
  stations: readonly Station[];
  at: number;
  onAt: (at: number | undefined) => void;
}): Element {
  const { at, onAt } = props;
  const { title, sentence, attempt } = props.stations[at]!;
  return h(
    "section",
    { class: "card tour", "aria-label": "Tour" },
    h("h2", { "aria-live": "polite" }, `${at + 1} of ${props.stations.length}: ${title}`),
    h("p", {}, sentence),
    h("p", { class: "try" }, `Try: ${attempt}`),
    h(
      Controls,
      {},
      h(Button, { label: "Back", onPress: () => onAt(at - 1), disabled: at === 0 }),
      at < props.stations.length - 1
        ? h(Button, { label: "Next station", onPress: () => onAt(at + 1) })
        : h(Button, { label: "End the tour", onPress: () => onAt(undefined) }),
      h(Button, { label: "Close", onPress: () => onAt(undefined) }),
    ),
  );
}
