/**
 * A model in one file: a safetensors file whose metadata describe the model and its tokenizer, under "folio". A page saves such a
 * file, lib/weights/model-file.ts reads it, and other programs find the weights under GPT-2's names. It imports nothing from Node.
 */
import { shapeOf } from "../../settings/model.js";
import type { Pretrained } from "../../weights/pretrained.js";
import { type FloatFormat, safetensorsHeader, valueBytes } from "../../weights/safetensors-bytes.js";

/** The model as the parts of a file. */
export function modelBytes(
  { params, model, tokenizer }: Omit<Pretrained, "tokenizerNotes">,
  floats: FloatFormat = "float32",
): Uint8Array[] {
  const folio = JSON.stringify({ format: "folio-model", version: 1, model: shapeOf(model), tokenizer });
  return [safetensorsHeader(params, { format: "pt", folio }, floats), ...valueBytes(params, floats)];
}
