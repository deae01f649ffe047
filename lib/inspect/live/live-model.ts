/**
 * A model that lives in a page, apart from what is seen of it: its weights now, looks at its values, samples, training, and the
 * file that it is saved as. The functions are the library's own; in Node they run too.
 */
import type { HostTensors } from "../../engine/host-tensors.js";
import { keepResident } from "../../engine/page/session.js";
import type { ValueName } from "../../model/activations.js";
import type { Edits } from "../../model/edits.js";
import { type SampledToken, type SampleOptions, sample } from "../../sample/sample.js";
import { shapeOf } from "../../settings/model.js";
import { type Looked, look } from "../look.js";
import type { EmbeddedModel } from "./embedded.js";
import { modelBytes } from "./save-model.js";
import { openTrainer, type Trainer, type TrainerOptions } from "./trainer.js";

export interface LiveModel {
  /** Settings, tokenizer and weights now, as the library's functions take a model. */
  readonly model: EmbeddedModel;
  /** Raised when the weights change. */
  readonly version: number;
  look<const N extends ValueName>(
    text: string | readonly number[],
    names: readonly N[],
    edits?: Edits,
  ): Promise<Looked<N>>;
  /** [T, V], a row per token of the text. */
  logits(text: string | readonly number[], edits?: Edits): Promise<Float32Array>;
  sample(options: SampleOptions): AsyncGenerator<SampledToken>;
  /** Starts a training on a text; the one before ends. Its first update starts from the weights now. */
  train(text: string, options?: TrainerOptions): Promise<Trainer>;
  /** Takes over the weights of the training. */
  refresh(): Promise<void>;
  /** Puts back the weights that the page came with, and ends the training. */
  reset(): void;
  /** The weights now as a safetensors file that `--init_from` takes. */
  save(): Uint8Array[];
}

/** Wraps a model. */
export function openLiveModel(embedded: EmbeddedModel): LiveModel {
  let model = embedded;
  let version = 0;
  let trainer: Trainer | undefined;
  const use = (params: HostTensors) => {
    model = { ...embedded, params };
    version++;
    keepResident(params);
  };
  keepResident(embedded.params);
  const live: LiveModel = {
    get model() {
      return model;
    },
    get version() {
      return version;
    },
    look: (text, names, edits) => look(model, text, names, edits && { edits }),
    async logits(text, edits) {
      return (await live.look(text, ["logits"], edits)).values.logits.values;
    },
    sample: (options) => sample(model, model.tokenizer, { ...options, compile: false, dtype: "float32" }),
    async train(text, options) {
      trainer?.close();
      trainer = await openTrainer(model, text, options);
      return trainer;
    },
    async refresh() {
      if (trainer) use(await trainer.params());
    },
    reset() {
      trainer?.close();
      trainer = undefined;
      use(embedded.params);
    },
    save: () =>
      modelBytes({ params: model.params, model: shapeOf(model.settings), tokenizer: model.tokenizer.toJSON() }),
  };
  return live;
}
