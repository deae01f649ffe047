/** The model as a tree: parts, the shapes of their weights and outputs, parameters and FLOPs. */

import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";

export interface TreeNode {
  readonly name: string;
  /** Formula or meaning. */
  readonly note?: string;
  readonly shape?: readonly (number | string)[];
  readonly parameters?: number;
  /** FLOPs of a forward pass, per token. */
  readonly flops?: number;
  readonly children?: readonly TreeNode[];
}

export interface TreeData {
  readonly title: string;
  readonly root: TreeNode;
}

const grouped = (value: number) => Math.round(value).toLocaleString("en");

function facts({ shape, parameters, flops }: TreeNode): string {
  return [
    shape && `[${shape.join(", ")}]`,
    parameters && `${grouped(parameters)} parameters`,
    flops && `${grouped(flops)} FLOPs per token`,
  ]
    .filter(Boolean)
    .join(" · ");
}

function Node({ node, depth }: { node: TreeNode; depth: number }): Element {
  const line = [
    h("b", {}, node.name),
    " ",
    h("span", { class: "soft" }, facts(node)),
    node.note && h("i", {}, ` ${node.note}`),
  ];
  if (!node.children?.length) return h("div", { class: "leaf" }, line);
  return h(
    "details",
    { open: depth < 2 },
    h("summary", {}, line),
    node.children.map((child) => h(Node, { node: child, depth: depth + 1 })),
  );
}

const View = ({ data }: { data: TreeData }): Element =>
  h("div", { class: "tree" }, h(Node, { node: data.root, depth: 0 }));

/** The lines of the tree that are open at first, each with its depth. */
function linesOf(node: TreeNode, depth = 0): { node: TreeNode; depth: number }[] {
  const children = depth < 2 ? (node.children ?? []) : [];
  return [{ node, depth }, ...children.flatMap((child) => linesOf(child, depth + 1))];
}

function still(data: TreeData): Element {
  const lines = linesOf(data.root);
  const height = 34 + lines.length * 22;
  return h(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 760 ${height}`,
      width: 760,
      height,
      role: "img",
      "aria-label": data.title,
    },
    h("text", { x: 8, y: 18, class: "heading" }, data.title),
    lines.map(({ node, depth }, index) =>
      h(
        "text",
        { x: 8 + depth * 24, y: 44 + index * 22, class: "word", "font-size": 13 },
        h("tspan", { "font-weight": 600 }, node.name),
        h("tspan", { dx: 10, class: "soft" }, facts(node)),
      ),
    ),
  );
}

const text = (data: TreeData) =>
  [
    data.title,
    ...linesOf(data.root).map(({ node, depth }) => `${"  ".repeat(depth + 1)}${node.name}  ${facts(node)}`),
  ].join("\n");

export const tree: Kind<TreeData> = { View, picture: still, text };
