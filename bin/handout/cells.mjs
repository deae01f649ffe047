/**
 * The cells of a notebook as HTML, in sections that begin at its headings. Outputs are shown as they are stored. HTML in
 * outputs and Markdown is taken over as it is, with its scripts, as in a notebook that Jupyter trusts. Code that the notebook
 * hides is left out: that of an exercise holds its hints and its check.
 */
import fs from "node:fs";
import path from "node:path";
import { stripVTControlCharacters } from "node:util";
import hljs from "highlight.js/lib/common";
import { Marked } from "marked";
import markedKatex from "marked-katex-extension";
import { built } from "../state.mjs";

const { escapeHtml } = /** @type {typeof import("../../lib/charts/html-page.js")} */ (
  await built("lib/charts/html-page.js")
);

/**
 * @typedef {string | string[]} Text
 * @typedef {{
 *   output_type: string, text?: Text, data?: Record<string, Text>, ename?: string, evalue?: string, traceback?: string[]
 * }} Output
 * @typedef {{
 *   cell_type: string, source: Text, outputs?: Output[], attachments?: Record<string, Record<string, string>>,
 *   metadata?: { jupyter?: { source_hidden?: boolean } }
 * }} Cell
 * @typedef {{ cells: Cell[], metadata?: { language_info?: { name?: string }, kernelspec?: { language?: string } } }} Notebook
 * @typedef {{ title: string, cells: string[] }} Section the title is plain text, the cells are HTML
 */

/**
 * @param {Notebook} notebook
 * @param {string} folder where its pictures are
 * @returns {Section[]}
 */
export function readSections(notebook, folder) {
  const { language_info: info, kernelspec } = notebook.metadata ?? {};
  const language = info?.name ?? kernelspec?.language ?? "";
  /** @type {Section[]} */
  const sections = [];
  for (const cell of notebook.cells) {
    if (cell.cell_type === "markdown") {
      for (const part of proseParts(cell, folder)) {
        if (part.heading !== undefined || sections.length === 0)
          sections.push({ title: part.heading ?? "", cells: [] });
        sections.at(-1)?.cells.push(part.html);
      }
    } else if (cell.cell_type === "code") {
      const html = codeCell(cell, language);
      if (html === "") continue;
      if (sections.length === 0) sections.push({ title: "", cells: [] });
      sections.at(-1)?.cells.push(html);
    }
  }
  return sections;
}

/**
 * A Markdown cell, cut at its headings of the first and second level.
 * @param {Cell} cell
 * @param {string} folder
 */
function proseParts(cell, folder) {
  const marked = new Marked(markedKatex({ output: "mathml", throwOnError: false }), {
    renderer: {
      code: ({ text, lang }) => codeHtml(text, lang ?? ""),
      image: ({ href, text }) => image(href, text, cell, folder),
    },
  });
  /** @type {{ heading: string | undefined, tokens: import("marked").Token[] }[]} */
  const parts = [];
  for (const token of marked.lexer(joined(cell.source))) {
    const isHeading = token.type === "heading" && token.depth <= 2;
    if (isHeading || parts.length === 0) parts.push({ heading: isHeading ? plainText(token) : undefined, tokens: [] });
    parts.at(-1)?.tokens.push(token);
  }
  return parts.map(({ heading, tokens }) => ({
    heading,
    html: `<div class="cell prose">\n${marked.parser(tokens)}</div>`,
  }));
}

/**
 * The text of a heading without its marks.
 * @param {import("marked").Token} heading
 */
const plainText = (heading) =>
  ("tokens" in heading ? (heading.tokens ?? []) : [])
    .map((token) => ("text" in token ? token.text : token.raw))
    .join("");

/**
 * An attached or local picture as a part of the page. Any other becomes a link, since the page fetches nothing.
 * @param {string} href
 * @param {string} text
 * @param {Cell} cell
 * @param {string} folder
 */
function image(href, text, cell, folder) {
  const types = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", svg: "image/svg+xml" };
  const [mime, base64] = Object.entries(cell.attachments?.[href.replace(/^attachment:/, "")] ?? {})[0] ?? [];
  const alt = escapeHtml(text);
  if (base64) return `<img src="data:${mime};base64,${base64}" alt="${alt}">`;
  const file = path.resolve(folder, decodeURIComponent(href));
  const type = Object.entries(types).find(([ending]) => href.toLowerCase().endsWith(`.${ending}`))?.[1];
  if (type && fs.existsSync(file)) {
    return `<img src="data:${type};base64,${fs.readFileSync(file, "base64")}" alt="${alt}">`;
  }
  return `<a href="${escapeHtml(href)}">${alt || "picture"}</a>`;
}

/**
 * @param {Cell} cell
 * @param {string} language
 */
function codeCell(cell, language) {
  const source = cell.metadata?.jupyter?.source_hidden ? "" : joined(cell.source).trimEnd();
  const parts = [...(source ? [codeHtml(source, language)] : []), ...(cell.outputs ?? []).map(outputHtml)];
  const shown = parts.filter((part) => part !== "");
  return shown.length > 0 ? `<div class="cell code">\n${shown.join("\n")}\n</div>` : "";
}

/**
 * @param {string} code
 * @param {string} language
 */
function codeHtml(code, language) {
  const known = hljs.getLanguage(language) ? hljs.highlight(code, { language }).value : escapeHtml(code);
  return `<pre class="source" tabindex="0"><code>${known}</code></pre>`;
}

/** What Folio's kernel outputs once for all figures or views; the page has it in its head. */
const libraryOutput = /^\s*<script>window\.(Plotly|FolioViews) \|\| /;

/** A page within the page: it would have to be loaded. */
const frame = /<iframe\b[^>]*?\ssrc="([^"]*)"[^>]*>.*?<\/iframe>/gis;

/** @param {Output} output */
function outputHtml({ output_type, text, data = {}, ename, evalue, traceback }) {
  if (output_type === "stream") return textHtml(joined(text), "text");
  if (output_type === "error") return textHtml(traceback?.join("\n") || `${ename}: ${evalue}`, "text error");
  const html = joined(data["text/html"]).replace(
    frame,
    "<p>Another page, which is not in this file: <code>$1</code></p>",
  );
  if (libraryOutput.test(html)) return "";
  const content = html || picture(data) || new Marked().parse(joined(data["text/markdown"]), { async: false });
  return content ? `<div class="output">${content}</div>` : textHtml(joined(data["text/plain"]), "text");
}

/** @param {Record<string, Text>} data */
function picture(data) {
  const alt = escapeHtml(joined(data["text/plain"]));
  const svg = joined(data["image/svg+xml"]);
  if (svg) return `<img src="data:image/svg+xml;base64,${Buffer.from(svg).toString("base64")}" alt="${alt}">`;
  const mime = ["image/png", "image/jpeg", "image/gif"].find((type) => data[type]);
  return mime && `<img src="data:${mime};base64,${joined(data[mime]).replaceAll("\n", "")}" alt="${alt}">`;
}

/**
 * Printed text without colours; of a line that was written again after a carriage return, the last state.
 * @param {string} text
 * @param {string} kind the class of the element
 */
function textHtml(text, kind) {
  const plain = stripVTControlCharacters(text)
    .replace(/^.*\r(?!\n|$)/gm, "")
    .trimEnd();
  return plain && `<pre class="${kind}" tabindex="0">${escapeHtml(plain)}</pre>`;
}

/** @param {Text | undefined} text */
const joined = (text) => (Array.isArray(text) ? text.join("") : (text ?? ""));
