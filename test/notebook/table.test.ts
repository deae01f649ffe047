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

  test("aligns texts that begin with a number right, and sentences left", () => {
    const html = table(["share", "why"], [["−1.5 %", "3 runs are missing, so this says little"]]).bundle()["text/html"];
    expect(html).toContain('<td style="text-align:right">−1.5 %</td><td style="text-align:left">3 runs');
  });

  test("refuses a row of another length", () => {
    expect(() => table(["a", "b"], [[1, 2], [1]])).toThrow(
      "Cannot make a table: row 2 has 1 cells; wanted 2, one per heading.",
    );
  });
});
