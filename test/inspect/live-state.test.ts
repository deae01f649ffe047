/** What a live page shows, without a browser. */
import * as tf from "@tensorflow/tfjs-core";
import { expect, test } from "vitest";
import { idTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { toHosts } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { lookAt } from "../../lib/inspect/live/app/state.js";
import { openLiveModel } from "../../lib/inspect/live/live-model.js";
import { headWeights } from "../../lib/inspect/page/attention.js";
import { initialParameters } from "../../lib/model/model.js";
import { parseSettings } from "../../lib/settings/settings.js";

test("a long text is shown by queries and keys, and by its weights where an edit changes them", async () => {
  loadTensorFlow();
  const settings = parseSettings({ nLayer: 1, nHead: 2, nEmbd: 4, blockSize: 300, vocabSize: 7, device: "cpu" });
  const tensors = initialParameters(settings, 1);
  const live = openLiveModel({ settings, tokenizer: idTokenizer(7), params: await toHosts(tensors) });
  tf.dispose(tensors);
  const text = Array.from({ length: 280 }, (_, i) => i % 7).join(" ");
  const weights = async (edits: Parameters<typeof lookAt>[1]["edits"], head: number) => {
    const { attention } = await lookAt(live, { text, edits, lens: false });
    return headWeights(
      { ...attention, title: "", first: [0, 0], thumbnails: { shape: [], values: new Float32Array() } },
      0,
      head,
    );
  };
  const edit = { name: "h.0.attn.weights", heads: [1] } as const;
  const row = (all: Float32Array) => all.subarray(279 * 280).reduce((sum, weight) => sum + weight, 0);
  expect(row(await weights([], 1))).toBeCloseTo(1, 2);
  expect(row(await weights([edit], 1))).toBe(0);
  expect(row(await weights([edit], 0))).toBeCloseTo(1, 2);
});
