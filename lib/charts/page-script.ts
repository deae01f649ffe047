/** Scripts of pages and notebooks: how code stands in a script element, and libraries that a notebook loads once. */
import { notebookKernel } from "../host/notebook.js";

/** Code for a script element: `<\/script` and `<\!--` mean the same to JavaScript, but do not end the element. */
export const escapeScript = (code: string): string => code.replace(/<(\/script|!--)/gi, "<\\$1");

/** A value as JSON for a script element. */
export const scriptJson = (value: unknown, replacer?: (key: string, value: unknown) => unknown): string =>
  JSON.stringify(value, replacer).replaceAll("<", "\\u003c");

/** The cell that a library was output by. */
interface Carrier {
  readonly cell: number;
  readonly cellId: string | undefined;
}
const carriers = new Map<string, Carrier>();

/**
 * Gives the notebook a library that defines `globalName`: once per kernel, since it is large and every output uses it,
 * and again where its cell is run again, which loses that cell's output.
 */
export function offerScript(globalName: string, code: () => string): void {
  const kernel = notebookKernel();
  if (!kernel) return;
  const { cell, cellId } = kernel;
  const before = carriers.get(globalName);
  const isLost = before?.cellId !== undefined && before.cellId === cellId && before.cell !== cell;
  if (before && !isLost) return;
  carriers.set(globalName, { cell, cellId });
  const script = escapeScript(code());
  kernel.display({ "text/html": `<script>window.${globalName} || (() => {${script}\n})()</script>` });
}
