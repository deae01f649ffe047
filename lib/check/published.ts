/**
 * What GPT-2's published weights should give, with sources; or, from a file, what other weights of those names should give,
 * to try the check itself.
 */
import * as z from "zod";
import { faultOf } from "../host/checked-json.js";
import { readRegularText, reasonOf } from "../host/regular-file.js";
import { countParameters, gpt2Shapes } from "../model/sizing.js";
import { type Gpt2Name, gpt2Names } from "../weights/gpt2-folder.js";

/** What one size should give. */
export interface Expected {
  readonly parameters: number;
  /** Texts that always taking the likeliest token writes. */
  readonly texts: readonly { readonly prompt: string; readonly continuation: string }[];
  /** Mean loss on OpenWebText, in nats per token, and how far that of a slice may be off. */
  readonly loss: number;
  readonly tolerance: number;
  readonly source: string;
}

/** The mean loss of 128 windows of 1,024 tokens is off by about 0.03 (one standard error); the sizes differ by 0.1 to 0.3. */
const tolerance = 0.1;
const nanoGpt = "nanoGPT's README";

const ofSize = (name: Gpt2Name, loss: number, texts: Expected["texts"] = []): Expected => ({
  parameters: countParameters(gpt2Shapes[name]),
  texts,
  ...{ loss, tolerance, source: nanoGpt },
});

/**
 * Validation losses: nanoGPT's README, table of baselines. Texts: the integration test of Hugging Face's transformers
 * (tests/models/gpt2/test_modeling_gpt2.py) and Hugging Face's article "How to generate text" (2020); of the three larger
 * sizes no greedy text was found.
 */
const published: Readonly<Record<Gpt2Name, Expected>> = {
  gpt2: ofSize("gpt2", 3.12, [
    {
      prompt: "The dog",
      continuation: " was found in a field near the intersection of West and West Streets.\n\nThe dog",
    },
    {
      prompt: "I enjoy walking with my cute dog",
      continuation:
        ", but I'm not sure if I'll ever be able to walk with my dog. I'm not sure if I'll ever be able to walk with my dog.\n\nI'm not sure if I'll",
    },
  ]),
  "gpt2-medium": ofSize("gpt2-medium", 2.84),
  "gpt2-large": ofSize("gpt2-large", 2.67),
  "gpt2-xl": ofSize("gpt2-xl", 2.54),
};

const expectation = z.object({
  parameters: z.int().positive(),
  texts: z.array(z.object({ prompt: z.string().min(1), continuation: z.string().min(1) })),
  loss: z.number().positive(),
  tolerance: z.number().positive(),
  source: z.string().min(1),
});
const expectations = z.partialRecord(z.enum(gpt2Names), expectation);

/**
 * What is expected of each size: published, or from a JSON file.
 * @throws {Error} when the file cannot be read, is not of this form, or lacks one of the sizes
 */
export function expectedOf(file: string, names: readonly Gpt2Name[]): Readonly<Partial<Record<Gpt2Name, Expected>>> {
  if (file === "") return published;
  const refuse = (found: string) =>
    new Error(
      `Cannot read what is expected from ${file}: ${found}; wanted JSON such as {"gpt2": {"parameters": …, "texts": [{"prompt", "continuation"}], "loss": …, "tolerance": …, "source": …}}.`,
    );
  let content: unknown;
  try {
    content = JSON.parse(readRegularText(file));
  } catch (error) {
    throw refuse(reasonOf(error));
  }
  const fault = faultOf(expectations, content);
  if (fault) throw refuse(fault);
  const found = expectations.parse(content);
  const missing = names.find((name) => !found[name]);
  if (missing) throw new RangeError(`Cannot check ${missing}: ${file} does not say what is wanted of it.`);
  return found;
}
