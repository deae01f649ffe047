/** The model as a tree: parts, the shapes of their weights and outputs, parameters and FLOPs. */

import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { linesPicture } from "./parts/lines.js";

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

function still({ title, root }: TreeData): Element {
  const lines = linesOf(root).map(({ node, depth }) => ({ bold: node.name, soft: facts(node), depth }));
  return linesPicture(title, lines);
}

const text = (data: TreeData) =>
  [
    data.title,
    ...linesOf(data.root).map(({ node, depth }) => `${"  ".repeat(depth + 1)}${node.name}  ${facts(node)}`),
  ].join("\n");

export const tree: Kind<TreeData> = { View, picture: still, text };
