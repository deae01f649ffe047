import { describe, expect, test } from "vitest";
import { table } from "../../lib/notebook/table.js";
import { describeValue } from "../../lib/notebook/values.js";

describe("table()", () => {
  const two = table(
    ["model", "parameters", "says"],
    [
      ["small <1 M>", 25_984, "1 warning"],
      ["GPT-2", 0.123456, "none"],
    ],
  );

  test("is text in columns, numbers aligned right", () => {
    expect(two.text()).toBe(
      ["model        parameters  says", "small <1 M>      25,984  1 warning", "GPT-2            0.1235  none"].join(
        "\n",
      ),
    );
  });

  test("is HTML with escaped text, as the last expression of a cell", () => {
    const bundle = describeValue(two)!;
    expect(bundle["text/plain"]).toBe(two.text());
    expect(bundle["text/html"]).toContain('<th style="text-align:right">parameters</th>');
    expect(bundle["text/html"]).toContain('<td style="text-align:left">small &lt;1 M&gt;</td>');
    expect(bundle["text/html"]).toContain('<td style="text-align:right">25,984</td>');
  });

  test("aligns numbers with units, powers and intervals right, and names that begin with a number left", () => {
    const cells = ["−1.5 %", "9.2 ms", "1.24e+19", "0.46 to 0.60", "±2 ×", "326 M"];
    const names = ["1, envelope", "3 runs are missing", "2 layers of 64"];
    const head = [...cells, ...names].map((_, i) => String.fromCharCode(97 + i));
    const html = table(head, [[...cells, ...names]]).bundle()["text/html"]!;
    const sides = [...html.matchAll(/<td style="text-align:(\w+)">/g)].map(([, side]) => side);
    expect(sides).toEqual([...cells.map(() => "right"), ...names.map(() => "left")]);
  });

  test("refuses a row of another length", () => {
    expect(() => table(["a", "b"], [[1, 2], [1]])).toThrow(
      "Cannot make a table: row 2 has 1 cells; wanted 2, one per heading.",
    );
  });
});
