/** A script that runs one eager forward pass. */
import * as tf from "@tensorflow/tfjs-core";
import * as folio from "folio";

await Reflect.get(globalThis, "breakpointSet");
const config = folio.parseSettings({ nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 4, vocabSize: 5 });
const params = folio.initialParameters(config, 1);
folio.forward(params, tf.tensor2d([[1, 2, 3]], undefined, "int32"), config);
console.log("done");
