/**
 * What a view gives: itself in a notebook, a page, a still picture, words. The files beside this one make views of a
 * model; lib/inspect/page/ draws them.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import { renderToString } from "preact-render-to-string";
import { svgImage } from "../../charts/figure-svg.js";
import { escapeHtml, pageHead } from "../../charts/html-page.js";
import { escapeScript, offerScript, scriptJson } from "../../charts/page-script.js";
import { type MimeBundle, notebookKernel } from "../../host/notebook.js";
import { packageRoot } from "../../host/package.js";
import type { Kind } from "../page/kind.js";
import { type DataOf, type KindName, kinds } from "../page/kinds.js";
import { stillCss } from "../page/style.js";
import "./pack.js"; // sets the painter

/** A picture that answers to mouse and keyboard where scripts run, and is a still picture or words elsewhere. */
export interface View {
  readonly title: string;
  /** Which picture it is, and the numbers that it draws (lib/inspect/page/). */
  readonly kind: KindName;
  readonly data: unknown;
  /** In a notebook, shows the view; elsewhere prints its words. */
  show(): void;
  /** A page of its own, which loads nothing. */
  html(): string;
  /** The still picture. */
  svg(): string;
  /** What there is to see, in numbers. */
  text(): string;
  /** The representations that a notebook keeps. */
  bundle(): MimeBundle;
}

/** A view of this kind. */
export function makeView<K extends KindName>(kind: K, data: DataOf<K>): View {
  const { picture, text } = kinds[kind] as unknown as Kind<DataOf<K>>;
  const { title } = data as { title: string };
  const svg = () => withStyle(renderToString(picture(data)), title);
  const place = (heading = "") => {
    const json = scriptJson(data);
    const id = `folio-${createHash("sha256").update(kind).update(json).digest("hex").slice(0, 12)}`;
    const image = svgImage(svg(), alternative(text(data)));
    // Inside an image the medium is always the screen; its colours are those of the element's colour scheme.
    const print = `<style>@media print { .${id} img { color-scheme: light; } }</style>`;
    return `<div class="${id}"${heading}>${print}${image}</div>\n<script>window.FolioViews?.mount("${id}", "${kind}", ${json})</script>`;
  };
  const view: View = {
    ...{ title, kind, data },
    show() {
      const kernel = notebookKernel();
      if (kernel) kernel.display(view.bundle());
      else console.log(view.text());
    },
    html: () => page(title, place(' data-heading="h1"')),
    svg,
    text: () => text(data),
    bundle() {
      offerScript("FolioViews", script);
      return { "text/html": place(), "text/plain": text(data) };
    },
  };
  return view;
}

/** Longest alternative text: somebody listens to it from beginning to end. */
const mostLetters = 600;

/** The words of a view as alternative text: whole lines, as many as are not too long to listen to. */
function alternative(words: string): string {
  if (words.length <= mostLetters) return words.replaceAll("\n", " ");
  const end = words.lastIndexOf("\n", mostLetters);
  return `${words.slice(0, end > 0 ? end : mostLetters).replaceAll("\n", " ")} …`;
}

/** The style sheet inside the SVG document; a label, if the picture has none. */
function withStyle(svg: string, title: string): string {
  const end = svg.indexOf(">");
  const label = svg.slice(0, end).includes("aria-label") ? "" : ` aria-label="${escapeHtml(title)}"`;
  return `${svg.slice(0, end)}${label}><style>${stillCss}</style>${svg.slice(end + 1)}`;
}

let bundled: string | undefined;

/** What runs in the browser: bin/bundle.mjs makes it when the package is built. It defines FolioViews. */
function script(): string {
  const file = path.join(packageRoot(), "dist", "lib", "inspect", "page", "bundle.js");
  bundled ??= `${readFileSync(file, "utf8")}\nwindow.FolioViews = FolioViews;`;
  return bundled;
}

const page = (title: string, body: string) => `${pageHead({ title })}
<body>
<script>${escapeScript(script())}</script>
<main>
${body}
</main>
</body>
</html>
`;
