/** What a view is: one component for a page, and from the same data a still picture and words. */
import type { Component, Element } from "./parts/element.js";

export interface Kind<Data> {
  /** The view in a page, with its controls. */
  readonly View: Component<{ data: Data }>;
  /** The still picture: one SVG element. */
  readonly picture: (data: Data) => Element;
  /** For a terminal, and as the text alternative: what there is to see, in numbers. */
  readonly text: (data: Data) => string;
}
