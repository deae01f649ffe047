import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { heatmapSvg } from "../../lib/charts/heatmap.js";

const square = { title: "a < b", xLabel: "looks at", yLabel: "position", labels: ["a", " "] };

describe("heatmapSvg()", () => {
  it("draws one cell per value", () => {
    const { document } = parseHTML(
      heatmapSvg({
        ...square,
        values: [
          [1, 0],
          [0.25, 0.75],
        ],
      }),
    );
    const cells = [...document.querySelectorAll("rect")];
    expect(cells.length).toBe(4);
    expect(cells.every((cell) => cell.parentElement?.tagName.toLowerCase() === "g")).toBe(true);
    expect(new Set(cells.map((cell) => cell.getAttribute("fill"))).size).toBe(4);
  });

  it("escapes the title and makes a space visible", () => {
    const svg = heatmapSvg({
      ...square,
      values: [
        [1, 0],
        [0, 1],
      ],
    });
    expect(svg).toContain("a &lt; b");
    expect(svg).toContain("␣");
  });

  it("refuses values that do not fit the labels, saying both sizes", () => {
    expect(() => heatmapSvg({ ...square, values: [[1, 0]] })).toThrow(/1 rows of 2 values for 2 labels/);
  });
});
