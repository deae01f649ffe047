/**
 * How the value of a cell is shown: by the value itself (its method Symbol.for("Jupyter.display"), as in Deno's
 * kernel), by Folio if it is one of Folio's values, or as text of limited length.
 */
import util from "node:util";

/** @typedef {Record<string, unknown>} Bundle representations by MIME type */

const own = Symbol.for("Jupyter.display");

/**
 * @param {unknown} value
 * @param {((value: unknown) => Bundle | undefined) | undefined} describe Folio's, once it is loaded
 * @returns {Promise<Bundle>}
 */
export async function bundleOf(value, describe) {
  const shown = /** @type {any} */ (value)[own];
  if (typeof shown === "function") {
    const bundle = await shown.call(value);
    if (bundle && typeof bundle === "object") return bundle;
  }
  return describe?.(value) ?? { "text/plain": plainText(value) };
}

/** @param {unknown} value */
function plainText(value) {
  if (typeof value === "string") return value;
  return util.inspect(value, { depth: 2, maxArrayLength: 20, maxStringLength: 1000, breakLength: 100 });
}
