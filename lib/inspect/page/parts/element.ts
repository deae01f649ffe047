/** preact's `h` with types as strict as the rest of Folio's. */
import { type Attributes, type ComponentChildren, createElement, type VNode } from "preact";

export type Element = VNode;
/** A function from properties to an element. */
export type Component<P> = (props: P) => Element;

/** An element of HTML or SVG, or of a component: `h("text", { x: 8 }, "weight")`. */
export function h<P>(type: Component<P>, props: P & Attributes, ...children: ComponentChildren[]): Element;
export function h(type: string, props: Readonly<Record<string, unknown>>, ...children: ComponentChildren[]): Element;
export function h(type: string | Component<never>, props: object, ...children: ComponentChildren[]): Element {
  return createElement(type as string, props, ...children) as Element;
}
