/** Views in a page that computes them itself, in place of ../views/view.ts: a view is its kind and its data, which the page draws. */
import { type DataOf, type KindName, kinds } from "../page/kinds.js";

export interface View {
  readonly title: string;
  readonly kind: KindName;
  readonly data: unknown;
}

export function makeView<K extends KindName>(kind: K, data: DataOf<K>): View {
  return { title: (data as { title: string }).title, kind, data };
}

/** The component that draws a view. */
export const componentOf = (kind: KindName) => kinds[kind].View;
