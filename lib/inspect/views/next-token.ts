/** The view of the next token's probabilities, with the sampler's settings as sliders. */
import type { Tokenizer } from "../../data/tokenizers/tokenizer.js";
import { type LookedAt, look, tokenizerOf, tokenText } from "../look.js";
import type { Drawing } from "../page/next-token.js";
import { likeliest } from "../probabilities.js";
import { pack } from "./pack.js";
import { makeView, type View } from "./view.js";

export interface NextTokenOptions extends Partial<Drawing> {
  readonly title?: string;
}

/** Logits that are at hand, and the text of each id. */
export interface NextTokenLogits {
  /** [V] */
  readonly logits: ArrayLike<number>;
  readonly token: (id: number) => string;
}

/** Tokens whose texts a page has: no more than these can be among the bars. */
const named = 400;

/**
 * The probabilities after a text, and what temperature, top-k and top-p make of them: softmax(logits / temperature) over the
 * tokens that may be drawn, as sample() draws. A slider for the random number u shows which token it draws.
 * @example
 * (await nextTokenView(openCheckpoint("out"), "ROMEO: my l")).show();
 */
export function nextTokenView(
  model: LookedAt,
  text: string | readonly number[],
  options?: NextTokenOptions,
): Promise<View>;
export function nextTokenView(logits: NextTokenLogits, options?: NextTokenOptions): View;
export function nextTokenView(
  source: LookedAt | NextTokenLogits,
  second?: string | readonly number[] | NextTokenOptions,
  third: NextTokenOptions = {},
): View | Promise<View> {
  if ("logits" in source) return viewOf(source, second as NextTokenOptions | undefined);
  return fromModel(source, second as string | readonly number[], third);
}

async function fromModel(model: LookedAt, text: string | readonly number[], options: NextTokenOptions): Promise<View> {
  const { tokens, values } = await look(model, text, ["logits"]);
  const V = model.settings.vocabSize;
  const tokenizer: Tokenizer | undefined = tokenizerOf(model);
  const title = `Next token after “${tokens.slice(-24).join("")}”`;
  return viewOf(
    { logits: values.logits.values.slice(-V), token: (id) => tokenText(id, tokenizer) },
    { title, ...options },
  );
}

function viewOf({ logits, token }: NextTokenLogits, options: NextTokenOptions = {}): View {
  const { title = "Next token", temperature = 1, topK = 0, topP = 1 } = options;
  if (!(temperature > 0))
    throw new RangeError(`Cannot show the next token: temperature is ${temperature}; wanted above 0.`);
  if (!(topP > 0 && topP <= 1))
    throw new RangeError(`Cannot show the next token: topP is ${topP}; wanted above 0, to 1.`);
  if (!(Number.isInteger(topK) && topK >= 0))
    throw new RangeError(`Cannot show the next token: topK is ${topK}; wanted a whole number, 0 for all.`);
  const shown = likeliest(logits, named);
  return makeView("nextToken", {
    ...{ title, temperature, topK, topP, logits: pack(logits, [logits.length], "float32") },
    tokens: Object.fromEntries(shown.map((id) => [id, token(id)])),
  });
}
