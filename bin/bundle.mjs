/**
 * Bundles what a view runs in a reader's browser, dist/lib/inspect/page/mount.js and all that it imports, into one
 * script. `npm run build` and set-up call it after TypeScript has built dist.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/**
 * @param {string} root the checkout
 * @returns {Promise<boolean>} false if there is nothing to bundle
 */
export async function bundlePage(root) {
  const folder = path.join(root, "dist", "lib", "inspect", "page");
  const entry = path.join(folder, "mount.js");
  if (!fs.existsSync(entry)) return false;
  const { build } = await import("esbuild");
  await build({
    entryPoints: [entry],
    outfile: path.join(folder, "bundle.js"),
    bundle: true,
    minify: true,
    format: "iife",
    globalName: "FolioViews",
    target: "es2022",
    legalComments: "inline",
    logLevel: "warning",
  });
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundlePage(path.join(path.dirname(fileURLToPath(import.meta.url)), ".."));
}
