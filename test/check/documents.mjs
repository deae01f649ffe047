// The texts that the test of `folio check gpt2` and test/golden/make-check.py share.

/** The model's shape. */
export const shape = {
  nLayer: 2,
  nHead: 2,
  nEmbd: 16,
  blockSize: 64,
  vocabSize: 50_257,
  bias: true,
  tieHead: true,
  gelu: /** @type {const} */ ("tanh"),
};

export const prompts = ["The dog", "Once upon a time"];

/** Predicted tokens: whole windows of the model. */
export const targets = 256;

export const documents = [
  "The harbour lay quiet before dawn. Two boats came in with the tide, their lamps still lit, and the men on board did not speak. A woman on the quay counted the crates as they were lifted out, one after another, and wrote the numbers into a small book with a broken spine.",
  "To measure the height of a tower without climbing it, one needs a stick, its shadow, and the shadow of the tower. The two heights stand to each other as the two shadows do. On a cloudy day the method fails, and one has to wait.",
  "Prices rose by 3.4 % in the third quarter, the agency said on Tuesday. Economists had expected 3.1 %. Rents and food made up most of the difference; fuel became cheaper for the second time this year. The bank will meet again in December.",
  "She opened the case, took out the violin and tuned it slowly, as if the room were empty. Then she played the first bars, stopped, shook her head, and began again a little faster. When the door closed behind the last listener, she was still playing.",
  "The museum is closed on Mondays. Visitors who come by train should take the second exit and follow the river for ten minutes; those who come by car will find a car park behind the mill. Dogs are welcome in the garden, but not in the rooms with the maps.",
];
