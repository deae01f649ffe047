/** Reads a model in one file, as a page saves it: weights, shape and tokenizer (lib/inspect/live/save-model.ts writes it). */
import * as z from "zod";
import { tokenizerFromSpec } from "../data/tokenizers/tokenizer.js";
import { faultOf } from "../host/checked-json.js";
import { parameterSpecs } from "../model/model.js";
import { shapeOf } from "../settings/model.js";
import { parseSettings } from "../settings/settings.js";
import type { Pretrained } from "./pretrained.js";
import { readSafetensorsFile } from "./safetensors.js";

const described = z.object({
  format: z.literal("folio-model"),
  version: z.literal(1),
  model: z.record(z.string(), z.unknown()), // parseSettings() checks them
  tokenizer: z.record(z.string(), z.unknown()).optional(), // tokenizerFromSpec() checks it
});

/**
 * @throws {Error} when the file is damaged, says nothing about its model, or has other tensors than the model that it describes
 */
export function readModelFile(file: string): Pretrained {
  const { tensors, metadata } = readSafetensorsFile(file);
  const fail = (found: string): never => {
    throw new Error(`Cannot load a model from ${file}: ${found}; wanted a file that a page of Folio's saved.`);
  };
  if (typeof metadata.folio !== "string") return fail("it has weights, but does not say of which model");
  try {
    const { model, tokenizer } = describedModel(metadata.folio);
    const specs = parameterSpecs(model);
    for (const { name, shape } of specs) {
      const found = tensors[name];
      if (found?.dtype === "float32" && found.shape.join() === shape.join()) continue;
      throw new Error(`${name} is ${found ? `[${found.shape}]` : "missing"}, but the model needs [${shape}]`);
    }
    const extra = Object.keys(tensors).find((name) => !specs.some((spec) => spec.name === name));
    if (extra) throw new Error(`it has the tensor ${extra}, which the model does not have`);
    return { params: Object.fromEntries(specs.map(({ name }) => [name, tensors[name]!])), model, tokenizer };
  } catch (error) {
    return fail(`its description is wrong: ${(error as Error).message.replace(/\.$/, "")}`);
  }
}

/** @throws {Error} when it describes no model and tokenizer */
function describedModel(text: string): Pick<Pretrained, "model" | "tokenizer"> {
  const found: unknown = JSON.parse(text);
  const fault = faultOf(described, found);
  if (fault) throw new Error(fault);
  const { model, tokenizer } = found as z.infer<typeof described>;
  return {
    model: shapeOf(parseSettings(model)),
    tokenizer: tokenizer && tokenizerFromSpec(tokenizer).toJSON(),
  };
}
