/** Opens any trained model in one line, also the small one that comes with Folio, to look inside, sample and measure. */
import { type Tokenizer, tokenizerFromSpec } from "../data/tokenizers/tokenizer.js";
import { parseSettings } from "../settings/settings.js";
import { type LoadOptions, loadPretrained } from "./open-weights.js";
import type { TrainedModel } from "./pretrained.js";

/** A trained model with its tokenizer. */
export interface OpenModel extends TrainedModel {
  /** Undefined if it is unknown. */
  readonly tokenizer: Tokenizer | undefined;
}

/**
 * The model of a name or path, as `look()`, the measures and `sample()` take it.
 * @param source `induction`, the two-layer model that comes with Folio (data/induction); gpt2, gpt2-medium, gpt2-large, gpt2-xl; or
 * the path of a run, of a Hugging Face folder or of nanoGPT's ckpt.pt
 * @throws {Error} if there is no such model, or it is damaged
 * @example
 * const model = await openModel("induction");
 * const { tokens, values } = await look(model, "readonly read", ["h.1.attn.weights"]);
 */
export async function openModel(source: string, options: LoadOptions = {}): Promise<OpenModel> {
  const { params, model, tokenizer } = await loadPretrained(source, options);
  return { params, settings: parseSettings({ ...model }), tokenizer: tokenizer && tokenizerFromSpec(tokenizer) };
}
