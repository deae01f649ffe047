/** The settings that make a model, and which of them are its shape. */

/** What determines the model and its forward pass. */
export interface ModelSettings {
  /** Transformer blocks, one after the other. */
  nLayer: number;
  /** Attention heads in each block; must divide nEmbd. */
  nHead: number;
  /** Width of the model: features of a token's vector. */
  nEmbd: number;
  /** Longest context the model sees. */
  blockSize: number;
  /** Ids the model knows; 0: as many as the dataset has. */
  vocabSize: number;
  /** Share of activations set to zero while training. */
  dropout: number;
  /** Biases in linear layers and layer norms, as GPT-2 has. */
  bias: boolean;
  /** The output head shares the token embedding's weights. */
  tieHead: boolean;
  /** Activation of the MLP: erf as in PyTorch and nanoGPT, tanh as in GPT-2 and Hugging Face. */
  gelu: "erf" | "tanh";
  /** As in Settings; it matters to new weights only. */
  initStd?: number;
}

/** The settings that trained weights fit: with another value of one of them, they are another model's. */
export const shapeKeys = ["nLayer", "nHead", "nEmbd", "blockSize", "vocabSize", "bias", "tieHead", "gelu"] as const;

/** What of a model its weights determine. */
export type ModelShape = Pick<ModelSettings, (typeof shapeKeys)[number]>;

/** The shape alone, of settings that have more. */
export function shapeOf(settings: ModelShape): ModelShape {
  return Object.fromEntries(shapeKeys.map((key) => [key, settings[key]])) as unknown as ModelShape;
}
