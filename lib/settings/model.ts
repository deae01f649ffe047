/** The settings that determine a model, and which of them are its shape. */

/** What determines the model and its forward pass. */
export interface ModelSettings {
  /** Transformer blocks, one after the other. A whole number of at least 1 (blocks); default 12. */
  nLayer: number;
  /** Attention heads in each block; must divide nEmbd. A whole number of at least 1 (heads); default 12. */
  nHead: number;
  /** Width of the model: features in a token's vector. A whole number of at least 1 (features); default 768. */
  nEmbd: number;
  /** Longest context the model sees. A whole number of at least 1 (tokens); default 1024. */
  blockSize: number;
  /** Number of token ids; 0: as many as the dataset has. A whole number of at least 0 (ids); default 0. */
  vocabSize: number;
  /** Fraction of activations set to zero during training. A number of at least 0 and below 1 (fraction); default 0. */
  dropout: number;
  /** Biases in linear layers and layer norms, as GPT-2 has. Default false. */
  bias: boolean;
  /** The output head shares the token embedding's weights. Default true. */
  tieHead: boolean;
  /**
   * Activation of the MLP: erf as in PyTorch and nanoGPT, tanh as in GPT-2 and Hugging Face.
   * One of erf, tanh; default "erf".
   */
  gelu: "erf" | "tanh";
  /**
   * Standard deviation of new weights, 0.02 as GPT-2's; 0: 1/√nEmbd, which suits narrow models.
   * A number of at least 0; default 0.02.
   */
  initStd?: number;
}

/** The settings that must agree with trained weights; a model that differs in one of them cannot use the weights. */
export const shapeKeys = ["nLayer", "nHead", "nEmbd", "blockSize", "vocabSize", "bias", "tieHead", "gelu"] as const;

/** The settings of a model that its weights determine. */
export type ModelShape = Pick<ModelSettings, (typeof shapeKeys)[number]>;

/** The shape out of settings that have more. */
export function shapeOf(settings: ModelShape): ModelShape {
  return Object.fromEntries(shapeKeys.map((key) => [key, settings[key]])) as unknown as ModelShape;
}
