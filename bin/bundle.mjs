/**
 * Bundles what runs in a reader's browser, each entry in dist/lib/inspect/ and all that it imports, into one script. `npm run
 * build` and set-up call it after TypeScript has built dist.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The scripts: the views of a notebook or a page, and the page in which a model lives. */
const scripts = [
  { folder: "page", entry: "mount.js", globalName: "FolioViews" },
  { folder: "live", entry: "start.js" },
];

/**
 * @param {string} root the checkout
 * @returns {Promise<boolean>} false if there is nothing to bundle
 */
export async function bundlePage(root) {
  const inspect = path.join(root, "dist", "lib", "inspect");
  const found = scripts.filter(({ folder, entry }) => fs.existsSync(path.join(inspect, folder, entry)));
  if (found.length === 0) return false;
  const { build } = await import("esbuild");
  for (const { folder, entry, globalName } of found) {
    await build({
      entryPoints: [path.join(inspect, folder, entry)],
      outfile: path.join(inspect, folder, "bundle.js"),
      bundle: true,
      minify: true,
      format: "iife",
      ...(globalName && { globalName }),
      target: "es2022",
      loader: { ".wasm": "binary" },
      legalComments: "eof",
      logLevel: "warning",
      logOverride: { "import-is-undefined": "silent" }, // of files that need Node (package.json, "browser")
    });
  }
  return true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundlePage(path.join(path.dirname(fileURLToPath(import.meta.url)), ".."));
}
