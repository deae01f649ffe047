/**
 * The part that runs in a browser: draws a view into an element. esbuild bundles this file and what it imports
 * (bin/bundle.mjs); each view lives in a shadow root, so that several on a page do not disturb each other.
 */
import "./paint.js"; // sets the painter
import { render } from "preact";
import { useState } from "preact/hooks";
import { type KindName, kinds } from "./kinds.js";
import { type Component, type Element, h } from "./parts/element.js";
import { viewCss } from "./style.js";

function Framed({ kind, data, host }: { kind: KindName; data: { title: string }; host: HTMLElement }): Element {
  const [large, setLarge] = useState(host.dataset.size === "large");
  const View = kinds[kind].View as Component<{ data: unknown }>;
  const toggle = () => {
    host.dataset.size = large ? "" : "large";
    setLarge(!large);
  };
  return h(
    "section",
    { "aria-label": data.title },
    h("style", {}, viewCss),
    h(
      "header",
      {},
      h(host.dataset.heading ?? "h2", {}, data.title),
      h("button", { type: "button", "aria-pressed": large, onClick: toggle, title: "Larger text and pictures" }, "A±"),
    ),
    h(View, { data }),
  );
}

/** Draws every place with this class that is not drawn yet; a still picture in it is removed. */
export function mount(className: string, kind: KindName, data: { title: string }): void {
  for (const host of document.querySelectorAll<HTMLElement>(`.${className}`)) {
    if (host.shadowRoot) continue;
    host.addEventListener("keydown", keepFromJupyterLab);
    const root = host.attachShadow({ mode: "open" });
    render(h(Framed, { kind, data, host }), root);
  }
}

/**
 * Keys pressed in a view are the view's. JupyterLab sees only the view's place, not the list or slider that has the focus in
 * it, and would take Enter as "edit the cell" and B as "new cell"; with a modifier they stay its own, such as Control S.
 */
function keepFromJupyterLab(event: KeyboardEvent): void {
  const { ctrlKey, metaKey, altKey, shiftKey } = event;
  const inNotebook = (event.currentTarget as HTMLElement).closest(".jp-Notebook") !== null;
  if (inNotebook && !ctrlKey && !metaKey && !altKey && !shiftKey) event.stopPropagation();
}
