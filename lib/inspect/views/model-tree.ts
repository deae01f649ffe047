/** The view of a model as a tree: its parts with formulas, shapes of weights, parameters and FLOPs. */
import { parameterSpecs } from "../../model/model.js";
import type { Shape } from "../../model/sizing.js";
import type { TreeNode } from "../page/tree.js";
import { makeView, type View } from "./view.js";

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** Formulas of the parts, as model.ts writes them. */
const notes: Readonly<Record<string, string>> = {
  wte: "wte[ids]",
  wpe: "wpe[positions]",
  ln_1: "layer norm before attention",
  ln_2: "layer norm before the MLP",
  ln_f: "layer norm before the head",
  attn: "x + attention(ln_1(x))",
  c_attn: "q, k, v = x W + b",
  heads: "softmax(q kᵀ / √D + mask) v",
  mlp: "x + mlp(ln_2(x))",
  c_fc: "gelu(x W + b)",
  c_proj: "x W + b",
  lm_head: "logits = x Wᵀ",
};

/** A matrix product with weights [from, to] takes 2 · from · to FLOPs per token; looking up a row takes none. */
const looksUp = new Set(["wte", "wpe"]);

/** A model's settings, or a model with its settings. */
export type TreeOf = Shape | { readonly settings: Shape };

/**
 * The model as a tree that opens: parts, shapes of their weights, parameters, and FLOPs of a forward pass per token at full
 * context (Kaplan 2020, table 1; norms, additions and softmax left out, as nanoGPT's transformer_sizing does).
 * @example modelTreeView(openCheckpoint("out")).show();
 */
export function modelTreeView(model: TreeOf, { title = "The model" }: { readonly title?: string } = {}): View {
  const shape = "settings" in model ? model.settings : model;
  return makeView("tree", { title, root: modelTree(shape) });
}

/** The tree's content. */
export function modelTree(shape: Shape): TreeNode {
  const { nLayer, nHead, nEmbd: C, blockSize: T, vocabSize: V } = shape;
  const parts = new Map<string, TreeNode[]>();
  for (const { name, shape: size } of parameterSpecs({ ...shape, gelu: "erf" })) {
    const [part] = [name.replace(/\.(weight|bias)$/, "")];
    const flops = name.endsWith(".weight") && size.length === 2 && !looksUp.has(part) ? 2 * sizeOf(size) : 0;
    const leaf: TreeNode = {
      name: name.split(".").at(-1)!,
      shape: size,
      parameters: sizeOf(size),
      ...(flops && { flops }),
    };
    parts.set(part, [...(parts.get(part) ?? []), leaf]);
  }
  const part = (path: string) => node(path.split(".").at(-1)!, parts.get(path) ?? []);
  const heads: TreeNode = { name: "heads", note: notes.heads!, shape: [nHead, "T", C / nHead], flops: 4 * C * T };
  const block = (layer: number): TreeNode => {
    const at = (name: string) => part(`h.${layer}.${name}`);
    return node(`h.${layer}`, [
      at("ln_1"),
      node("attn", [at("attn.c_attn"), heads, at("attn.c_proj")]),
      at("ln_2"),
      node("mlp", [at("mlp.c_fc"), at("mlp.c_proj")]),
    ]);
  };
  const tied: TreeNode = { name: "lm_head", note: "logits = x wteᵀ, the same weights as wte", flops: 2 * V * C };
  return node("GPT", [
    part("wte"),
    part("wpe"),
    ...Array.from({ length: nLayer }, (_, layer) => block(layer)),
    part("ln_f"),
    shape.tieHead ? tied : part("lm_head"),
  ]);
}

/** A part with the sums of its children. */
function node(name: string, children: readonly TreeNode[]): TreeNode {
  const sum = (key: "parameters" | "flops") => children.reduce((total, child) => total + (child[key] ?? 0), 0);
  const note = notes[name];
  return { name, ...(note && { note }), parameters: sum("parameters"), flops: sum("flops"), children };
}
