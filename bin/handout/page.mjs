/** The page of a handout: sections one below the other, or slides, which slides.mjs lays out in the browser. */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { built, packageRoot as root } from "../state.mjs";

const { pageHead, plotlyPath, escapeHtml } = /** @type {typeof import("../../lib/charts/html-page.js")} */ (
  await built("lib/charts/html-page.js")
);
const { escapeScript } = /** @type {typeof import("../../lib/charts/page-script.js")} */ (
  await built("lib/charts/page-script.js")
);
const { resolve } = createRequire(import.meta.url);
const here = import.meta.dirname;

/**
 * @param {import("./cells.mjs").Section[]} sections
 * @param {{ stem: string, slides: boolean }} what the stem is the title of a notebook without a heading
 * @returns {string}
 */
export function handoutPage(sections, { stem, slides }) {
  const body = sections.map(
    ({ title, cells }) => `<section data-title="${escapeHtml(title)}">\n${cells.join("\n")}\n</section>`,
  );
  const libraries = [
    ...(uses(sections, "Plotly") ? [read(plotlyPath())] : []),
    ...(uses(sections, "FolioViews") ? [`${read(viewsFile)}\nwindow.FolioViews = FolioViews;`] : []),
  ];
  /** @param {string} code @param {string} [kind] */
  const script = (code, kind = "") => `<script${kind}>${escapeScript(code)}</script>`;
  return `${pageHead({ title: sections[0]?.title || stem, css: css(slides) })}
<body${slides ? ' class="deck"' : ""}>
${libraries.map((code) => script(code)).join("\n")}
<main>
<div class="stage">
<div class="slides">
${body.join("\n")}
</div>
</div>
</main>
${slides ? [script(read(resolve("reveal.js"))), script(read(path.join(here, "slides.mjs")), ' type="module"')].join("\n") : ""}
</body>
</html>
`;
}

const viewsFile = path.join(root, "dist", "lib", "inspect", "page", "bundle.js");

/** @param {string} file */
const read = (file) => fs.readFileSync(file, "utf8");

/**
 * @param {import("./cells.mjs").Section[]} sections
 * @param {string} library
 */
const uses = (sections, library) =>
  sections.some(({ cells }) => cells.some((html) => html.includes(`window.${library}`)));

/** @param {boolean} slides */
function css(slides) {
  const styles = path.join(path.dirname(resolve("highlight.js/package.json")), "styles");
  return [
    read(path.join(styles, "a11y-light.min.css")),
    `@media screen and (prefers-color-scheme: dark) { ${read(path.join(styles, "a11y-dark.min.css"))} }`,
    ...(slides ? [read(resolve("reveal.js/reveal.css"))] : []),
    read(path.join(here, "handout.css")),
    ...(slides ? [read(path.join(here, "slides.css"))] : []),
  ].join("\n");
}
