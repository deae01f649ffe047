/** A forward pass value by value, in the order in which model.ts computes them. */
import { type ValueName, type ValueSpec, valueSpecs } from "../../model/activations.js";
import type { Edits, Replacement } from "../../model/edits.js";
import type { ModelSettings } from "../../settings/model.js";
import { type LookedAt, look } from "../look.js";
import { type ComputationStep, sourceOf } from "./computation-step.js";

/** A value of the pass. */
export interface ForwardStep extends ComputationStep {
  readonly name: ValueName;
  /** Puts another value in its place: the steps that follow are computed from it. */
  replace(value: Replacement): void;
}

/**
 * Each value of a forward pass (activations.ts has the list), computed anew after a replacement.
 * @throws {RangeError} as look(); a replacement of another shape, when the next step is asked for
 * @example
 * for await (const step of forwardSteps(openCheckpoint("out"), "ROMEO")) console.log(step.name, step.formula, step.source);
 */
export async function* forwardSteps(
  model: LookedAt,
  text: string | readonly number[],
  { edits = {} }: { readonly edits?: Edits } = {},
): AsyncGenerator<ForwardStep> {
  const specs = valueSpecs(model.settings);
  const names = specs.map(({ name }) => name);
  let current: Edits = edits;
  let seen = await look(model, text, names, { edits: current });
  const T = seen.ids.length;
  for (const spec of specs) {
    const { shape, values } = seen.values[spec.name]!;
    let changed = false;
    yield {
      ...{ name: spec.name, formula: spec.meaning, axes: spec.axes, source: lineOf(spec.name) },
      ...{ inputs: inputsOf(spec.name, model.settings), flops: flopsOf(spec, model.settings, T) },
      output: { dtype: "float32", shape, values },
      replace(to) {
        const before = [current[spec.name] ?? []].flat();
        current = { ...current, [spec.name]: [...before, { to }] };
        changed = true;
      },
    };
    if (changed) seen = await look(model, text, names, { edits: current });
  }
}

/** A name without its layer: `h.0.attn.q` → `attn.q`. */
const local = (name: ValueName) => name.replace(/^h\.\d+\./, "");

/** Functions of model.ts by the values that they compute. */
const places: readonly (readonly [value: RegExp, within: string])[] = [
  [/\.scale$/, "norm"],
  [/^(wte|wpe|embed)$/, "embed"],
  [/^(ln_f|logits)$/, "forward"],
  [/head_out$/, "sumOfHeads"],
  [/^attn\./, "attention"],
  [/^mlp\./, "mlp"],
  [/^(ln_|resid_)/, "block"],
];

function lineOf(name: ValueName): string {
  const part = local(name);
  const within = places.find(([value]) => value.test(part))![1];
  const last = part.replace(/^(attn|mlp)\./, "").replace(/^.*\.scale$/, "scale");
  const whole = `at("${part}"`;
  const plain = within === "embed" || within === "forward";
  return sourceOf("lib/model/model.ts", plain ? whole : new RegExp(`\\bat\\(.*\\.${last}\``), within);
}

/** What each value is computed from, within a layer; `residual` is the stream before the block. */
const sources: Readonly<Record<string, readonly string[]>> = {
  wte: ["ids", "wte.weight"],
  wpe: ["positions", "wpe.weight"],
  embed: ["wte", "wpe"],
  "ln_1.scale": ["residual"],
  ln_1: ["residual", "ln_1.scale", "ln_1.weight", "ln_1.bias"],
  "attn.q": ["ln_1", "attn.c_attn.weight", "attn.c_attn.bias"],
  "attn.k": ["ln_1", "attn.c_attn.weight", "attn.c_attn.bias"],
  "attn.v": ["ln_1", "attn.c_attn.weight", "attn.c_attn.bias"],
  "attn.scores": ["attn.q", "attn.k"],
  "attn.weights": ["attn.scores"],
  "attn.heads": ["attn.weights", "attn.v"],
  "attn.head_out": ["attn.heads", "attn.c_proj.weight"],
  "attn.out": ["attn.head_out", "attn.c_proj.bias"],
  resid_mid: ["residual", "attn.out"],
  "ln_2.scale": ["resid_mid"],
  ln_2: ["resid_mid", "ln_2.scale", "ln_2.weight", "ln_2.bias"],
  "mlp.pre": ["ln_2", "mlp.c_fc.weight", "mlp.c_fc.bias"],
  "mlp.act": ["mlp.pre"],
  "mlp.out": ["mlp.act", "mlp.c_proj.weight", "mlp.c_proj.bias"],
  resid_out: ["resid_mid", "mlp.out"],
  "ln_f.scale": ["residual"],
  ln_f: ["residual", "ln_f.scale", "ln_f.weight", "ln_f.bias"],
  logits: ["ln_f", "head"],
};

function inputsOf(name: ValueName, { nLayer, bias, tieHead }: ModelSettings): string[] {
  const layer = /^h\.(\d+)\./.exec(name)?.[1];
  const before = (count: number) => (count === 0 ? "embed" : `h.${count - 1}.resid_out`);
  const prefix = layer === undefined ? "" : `h.${layer}.`;
  return sources[local(name)]!.flatMap((source) => {
    if (source === "residual") return before(layer === undefined ? nLayer : Number(layer));
    if (source === "head") return tieHead ? "wte.weight" : "lm_head.weight";
    if (source.endsWith(".bias") && !bias) return [];
    return `${prefix}${source}`;
  });
}

/** 2 FLOPs per multiply-add of each matrix product over T positions. */
function flopsOf({ name }: ValueSpec, { nEmbd: C, vocabSize: V }: ModelSettings, T: number): number {
  const products: Readonly<Record<string, number>> = {
    ...{ "attn.q": 2 * T * C * C, "attn.k": 2 * T * C * C, "attn.v": 2 * T * C * C },
    ...{ "attn.scores": 2 * T * T * C, "attn.heads": 2 * T * T * C, "attn.head_out": 2 * T * C * C },
    ...{ "mlp.pre": 2 * T * C * 4 * C, "mlp.out": 2 * T * 4 * C * C, logits: 2 * T * C * V },
  };
  return products[local(name)] ?? 0;
}
