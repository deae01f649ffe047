/** What a page offers to its console and to tests, as `window.folio`. */
import * as tf from "@tensorflow/tfjs-core";
import type { ChosenBackend } from "../../engine/page/backend.js";
import type { ValueName } from "../../model/activations.js";
import type { SampleOptions } from "../../sample/sample.js";
import { editsOf, type PlainEdit } from "./edits.js";
import type { PageDescription } from "./embedded.js";
import type { LiveModel } from "./live-model.js";
import type { TrainedStep, Trainer, TrainerOptions } from "./trainer.js";

export interface PageApi {
  readonly backend: ChosenBackend;
  readonly settings: LiveModel["model"]["settings"];
  /** Logits [T, V] as rows, after the edits of this call. */
  logits(text: string, edits?: readonly PlainEdit[]): Promise<number[][]>;
  /** Values by name, each flat with its shape. */
  look(
    text: string,
    names: readonly ValueName[],
    edits?: readonly PlainEdit[],
  ): Promise<Record<string, { shape: number[]; values: number[] }>>;
  /** One plain forward pass, whose last logits are read. For measuring: nothing is converted or drawn. */
  pass(text: string): Promise<void>;
  /** Adds an edit to those that the page shows; without one, removes all. */
  edit(edit?: PlainEdit): void;
  /** The new text. */
  sample(options: Omit<SampleOptions, "edits"> & { readonly edits?: readonly PlainEdit[] }): Promise<string>;
  /** Trains for some steps on a text, or on that which came with the page, and continues where it stopped if the options are the same. */
  train(
    options?: TrainerOptions & { readonly steps?: number; readonly text?: string; readonly restart?: boolean },
  ): Promise<TrainedStep[]>;
  /** The safetensors file of the weights now, as base64 text. */
  save(): Promise<string>;
  /** Tensors and bytes that TensorFlow.js holds. */
  memory(): { readonly tensors: number; readonly bytes: number };
}

/** What a call of the console changes in the page. */
export interface PageChanges {
  edit(edit?: PlainEdit): void;
  /** The weights are others. */
  changed(): void;
}

/** Sets `window.folio`. */
export function offerApi(
  live: LiveModel,
  description: PageDescription,
  backend: ChosenBackend,
  { edit, changed }: PageChanges,
): void {
  let trainer: { key: string; trainer: Trainer } | undefined;
  const api: PageApi = {
    backend,
    settings: live.model.settings,
    async logits(text, edits) {
      const { shape, values } = (await live.look(text, ["logits"], editsOf(edits))).values.logits;
      const V = shape.at(-1)!;
      return Array.from({ length: values.length / V }, (_, t) => Array.from(values.subarray(t * V, (t + 1) * V)));
    },
    async look(text, names, edits) {
      const { values } = await live.look(text, names, editsOf(edits));
      return Object.fromEntries(
        names.map((name) => [name, { shape: [...values[name]!.shape], values: Array.from(values[name]!.values) }]),
      );
    },
    async pass(text) {
      await live.logits(text);
    },
    edit,
    async sample({ edits, ...options }) {
      const plain = editsOf(edits);
      let text = "";
      for await (const token of live.sample({ ...options, ...(plain && { edits: plain }) })) text += token.text;
      return text;
    },
    async train({ steps = 1, text = description.text, restart = false, ...options } = {}) {
      const key = JSON.stringify([text, options]);
      if (restart || trainer?.key !== key) trainer = { key, trainer: await live.train(text, options) };
      const done: TrainedStep[] = [];
      for (let step = 0; step < steps; step++) done.push(await trainer.trainer.step());
      await live.refresh();
      changed();
      return done;
    },
    async save() {
      let text = "";
      for (const bytes of live.save())
        for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
      return btoa(text);
    },
    memory() {
      const { numTensors, numBytes } = tf.memory();
      return { tensors: numTensors, bytes: numBytes };
    },
  };
  (window as unknown as { folio: PageApi }).folio = api;
}
