/** What a live page's file holds of its model: a description as JSON, and the weights as base64 text. write-page.ts writes them. */
import { type Tokenizer, type TokenizerSpec, tokenizerFromSpec } from "../../data/tokenizers/tokenizer.js";
import { float32, type HostTensors } from "../../engine/host-tensors.js";
import { fromHalf } from "../../host/sixteen-bit.js";
import { parameterSpecs } from "../../model/model.js";
import type { ModelShape } from "../../settings/model.js";
import { parseSettings, type Settings } from "../../settings/settings.js";
import { bytesOf } from "../page/parts/numbers.js";

/** What a page holds of a model. */
export interface EmbeddedModel {
  readonly settings: Settings;
  readonly tokenizer: Tokenizer;
  readonly params: HostTensors;
}

/** The JSON of a page. */
export interface PageDescription {
  readonly title: string;
  readonly model: ModelShape;
  readonly tokenizer: TokenizerSpec;
  readonly floats: "float32" | "float16";
  /** The prompt that is shown first. */
  readonly prompt: string;
  /** The text to train on; empty: none came with the page. */
  readonly text: string;
}

/**
 * @param base64 the parameters one after another, in the order of parameterSpecs()
 * @throws {RangeError} when there are not as many bytes as the model needs
 */
export function openEmbedded({ model, tokenizer, floats }: PageDescription, base64: string): EmbeddedModel {
  const bytes = bytesOf(base64);
  const values =
    floats === "float16" ? fromHalf("float16", new Uint16Array(bytes.buffer)) : new Float32Array(bytes.buffer);
  let from = 0;
  const params = parameterSpecs(model).map(({ name, shape }) => {
    const size = shape.reduce((product, axis) => product * axis, 1);
    from += size;
    return [name, float32(values.slice(from - size, from), shape)] as const;
  });
  if (from !== values.length)
    throw new RangeError(`Cannot open the page: it has ${values.length} weights, but its model needs ${from}.`);
  return {
    settings: parseSettings({ ...model }),
    tokenizer: tokenizerFromSpec(tokenizer),
    params: Object.fromEntries(params),
  };
}
