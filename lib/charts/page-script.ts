/** Scripts of pages and notebooks: how code stands in a script element, and libraries that a notebook loads once. */
import { notebookKernel } from "../host/notebook.js";

/** Code for a script element: `<\/script` and `<\!--` mean the same to JavaScript, but do not end the element. */
export const escapeScript = (code: string): string => code.replace(/<(\/script|!--)/gi, "<\\$1");

/** A value as JSON for a script element. */
export const scriptJson = (value: unknown, replacer?: (key: string, value: unknown) => unknown): string =>
  JSON.stringify(value, replacer).replaceAll("<", "\\u003c");

const offered = new Set<string>();

/** Gives the notebook a library that defines `globalName`, once per kernel: it is large, and every output uses it. */
export function offerScript(globalName: string, code: () => string): void {
  const kernel = notebookKernel();
  if (!kernel || offered.has(globalName)) return;
  offered.add(globalName);
  const script = escapeScript(code());
  kernel.display({ "text/html": `<script>window.${globalName} || (() => {${script}\n})()</script>` });
}
