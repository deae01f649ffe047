/** Edits as a page and its console write them: plain records, and what is switched off as one of them. */
import * as tf from "@tensorflow/tfjs-core";
import type { ValueName } from "../../model/activations.js";
import type { Edit, Edits } from "../../model/edits.js";

/** A value by its name, multiplied by a number. */
export interface PlainEdit {
  readonly name: ValueName;
  /** Only at these heads; all unless given. */
  readonly heads?: readonly number[];
  /** Only at these positions; all unless given. */
  readonly positions?: readonly number[];
  /** The factor; default 0. */
  readonly times?: number;
}

/** Edits for the model, several of one value in their order; undefined where there are none. */
export function editsOf(plain: readonly PlainEdit[] = []): Edits | undefined {
  if (plain.length === 0) return undefined;
  const edits = new Map<ValueName, Edit[]>();
  for (const { name, heads, positions, times = 0 } of plain) {
    const to: Edit["to"] = times === 0 ? "zero" : (value) => tf.mul(value, times);
    const edit = { to, ...(heads && { heads }), ...(positions && { positions }) };
    edits.set(name, [...(edits.get(name) ?? []), edit]);
  }
  return Object.fromEntries(edits) as Edits;
}

/** What switching a part off means: what it adds to the residual stream becomes zero. */
export const offEdits = {
  head: (layer: number, head: number): PlainEdit => ({ name: `h.${layer}.attn.heads`, heads: [head] }),
  attention: (layer: number): PlainEdit => ({ name: `h.${layer}.attn.out` }),
  mlp: (layer: number): PlainEdit => ({ name: `h.${layer}.mlp.out` }),
};

const same = (a: PlainEdit, b: PlainEdit) => JSON.stringify(a) === JSON.stringify(b);

/** Whether the list has the edit. */
export const hasEdit = (edits: readonly PlainEdit[], edit: PlainEdit): boolean => edits.some((one) => same(one, edit));

/** The list with the edit, or without it if it had it. */
export const toggled = (edits: readonly PlainEdit[], edit: PlainEdit): PlainEdit[] =>
  hasEdit(edits, edit) ? edits.filter((one) => !same(one, edit)) : [...edits, edit];

/** An edit in words. */
export function describeEdit({ name, heads, positions, times = 0 }: PlainEdit): string {
  const where = [heads && `head ${heads.join(", ")}`, positions && `position ${positions.join(", ")}`].filter(Boolean);
  return `${name}${where.length > 0 ? ` (${where.join("; ")})` : ""} ${times === 0 ? "= 0" : `× ${times}`}`;
}
