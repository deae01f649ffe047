/** Stored outputs against fresh ones, and prose against the cells: what is noticed, and what may vary. */
import { describe, expect, test } from "vitest";
import { svgImage, toSvg } from "../../lib/charts/figure-svg.js";
import { lineChart } from "../../lib/charts/line-chart.js";
import { matrixView } from "../../lib/inspect/views/matrix.js";
import { figureHtml } from "../../lib/notebook/figure-output.js";
import { differences } from "./compare.js";
import type { Cell, Notebook, Output } from "./notebook.js";
import { unboundNumbers } from "./prose.js";

const stream = (text: string): Output => ({ output_type: "stream", name: "stdout", text });
const html = (text: string): Output => ({ output_type: "display_data", data: { "text/html": text } });
const code = (outputs: Output[], tags: string[] = []): Cell => ({
  ...{ cell_type: "code", metadata: { tags }, source: "run();", outputs },
});
const markdown = (source: string): Cell => ({ cell_type: "markdown", metadata: {}, source });
const notebook = (...cells: Cell[]): Notebook => ({ cells, metadata: {}, nbformat: 4, nbformat_minor: 5 });

const between = (stored: Output, fresh: Output, tags: string[] = []) =>
  differences(notebook(code([stored], tags)), [[fresh]]);
const lines = (stored: string, fresh: string, tags: string[] = []) => between(stream(stored), stream(fresh), tags);

describe("a stored output", () => {
  test("that says another loss is named with its cell, its line and both texts", () => {
    expect(lines("begin\nloss 7.412\n", "begin\nloss 1.904\n")).toEqual([
      'cell 1: line 2: stored "loss 7.412", fresh "loss 1.904"',
    ]);
  });

  test("may differ in a decimal number by a thousandth, or by one of its last digit", () => {
    expect(lines("loss 1.904", "loss 1.905")).toEqual([]);
    expect(lines("loss 1.904", "loss 1.907")).toHaveLength(1);
    expect(lines("off by 0.1 %", "off by 0.2 %")).toEqual([]);
    expect(lines("off by 0.1 %", "off by 0.3 %")).toHaveLength(1);
    expect(lines("N* 1.00e+21", "N* 1.01e+21")).toEqual([]);
    expect(lines("N* 1.00e+21", "N* 1.00e+22")).toHaveLength(1);
  });

  test("may not differ in a whole number, a sign, a unit or a word", () => {
    expect(lines("25,984 parameters", "25,985 parameters")).toHaveLength(1);
    expect(lines("slope -0.50", "slope 0.50")).toHaveLength(1);
    expect(lines("2.50 nats", "2.50 bits")).toHaveLength(1);
    expect(lines("80 % interval", "95 % interval")).toHaveLength(1);
    expect(lines("a 1.50, b 2.50", "b 1.50, a 2.50")).toHaveLength(1);
    expect(lines("one\ntwo", "one")).toHaveLength(1);
  });

  test("may take another time or speed, on another processor", () => {
    expect(lines("with the cache 1133 ms, 45 tokens/s", "with the cache 2 ms, 9,000 tokens/s")).toEqual([]);
    expect(lines("AMD EPYC, 2 cores, TensorFlow 2.21.0", "Intel Xeon, 2 cores, TensorFlow 2.21.0")).toEqual([]);
    const without = "AMD EPYC, 2 cores, TensorFlow 2.21.0 without Folio's own operations";
    expect(lines("AMD EPYC, 2 cores, TensorFlow 2.21.0", without)).toEqual([]);
    expect(lines("it took 3 ms", "it took 3 s")).toHaveLength(1);
  });

  test("may name another line of the same source", () => {
    expect(lines("lib/train/steps.ts:145", "lib/train/steps.ts:146")).toEqual([]);
    expect(lines("lib/train/steps.ts:145", "lib/train/state.ts:145")).toHaveLength(1);
    expect(lines("step 145", "step 146")).toHaveLength(1);
  });

  test("of a cell that measures may have other numbers, not other words", () => {
    expect(lines("1.4 times", "9.0 times", ["measured"])).toEqual([]);
    expect(lines("1.4 times", "9.0 per cent", ["measured"])).toHaveLength(1);
    expect(lines("differ by 0.032", "differ by 0.034", ["tolerance:0.1"])).toEqual([]);
    expect(lines("differ by 0.032", "differ by 0.050", ["tolerance:0.1"])).toHaveLength(1);
  });

  test("of a cell that says so may be another text", () => {
    expect(lines("the cat\nsat", "a dog", ["varies"])).toEqual([]);
    expect(differences(notebook(code([stream("a"), html("<b>b</b>")], ["varies"])), [[stream("a")]])).toHaveLength(1);
  });

  test("from a machine that computes otherwise is compared less closely, and not where a training decides", () => {
    const cell = (tags: string[]) => notebook(code([stream("loss 1.904")], tags));
    const elsewhere = (tags: string[], text: string) => differences(cell(tags), [[stream(text)]], { alike: false });
    expect(elsewhere([], "loss 1.990")).toEqual([]);
    expect(elsewhere([], "loss 7.412")).toHaveLength(1);
    expect(elsewhere(["tolerance:0.02"], "loss 7.412")).toEqual([]);
  });

  test("that is missing is named", () => {
    expect(differences(notebook(code([stream("a")])), [[]])).toEqual([
      "cell 1 has 1 output stored, and made 0 outputs",
    ]);
  });
});

describe("a stored table", () => {
  const table = (...rows: string[][]) =>
    html(`<table>${rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join("")}</tr>`).join("")}</table>`);

  test("is compared cell by cell", () => {
    const stored = table(["law", "α"], ["Hoffmann", "0.339"], ["Epoch", "0.348"]);
    expect(between(stored, stored)).toEqual([]);
    const swapped = table(["law", "α"], ["Epoch", "0.348"], ["Hoffmann", "0.339"]);
    expect(between(stored, swapped)).toEqual([
      'cell 1: row 2, column 1: stored "Hoffmann", fresh "Epoch"',
      'cell 1: row 2, column 2: stored "0.339", fresh "0.348"',
      'cell 1: row 3, column 1: stored "Epoch", fresh "Hoffmann"',
      "cell 1: and 1 more",
    ]);
  });
});

describe("a stored figure", () => {
  const figure = (y: number[], xLabel = "step") => {
    const drawn = lineChart({ title: "Loss", xLabel, yLabel: "loss", series: [{ name: "training", x: [1, 2, 3], y }] });
    return html(figureHtml(drawn, "<img>"));
  };

  test("is compared by its values, not by its pixels", () => {
    expect(between(figure([4, 3, 2]), figure([4, 3.001, 2]))).toEqual([]);
    expect(between(figure([4, 3, 2]), figure([4, 3.5, 2]))[0]).toMatch(/^cell 1: "training"\.y\[1\]: stored "3"/);
    expect(between(figure([4, 3, 2]), figure([2, 3, 4]))).toHaveLength(2);
  });

  test("is compared on a logarithmic axis by ratios, and a value without an axis by its own size", () => {
    const scaled = (x: number[], opacity = 0.8) => {
      const series = [{ name: "law", x, y: [3, 2, 1], opacity }];
      return html(
        figureHtml(lineChart({ title: "Law", xLabel: "FLOPs", yLabel: "loss", logX: true, series }), "<img>"),
      );
    };
    const stored = scaled([1e18, 1.7e18, 1e22]);
    expect(between(stored, scaled([1e18, 1.701e18, 1e22]))).toEqual([]);
    expect(between(stored, scaled([1e18, 1.8e18, 1e22]))).toHaveLength(1);
    expect(between(stored, scaled([1e18, 1.7e18, 1e22], 0.9))).toHaveLength(1);
  });

  test("is compared by its labels", () => {
    expect(between(figure([4, 3, 2]), figure([4, 3, 2], "tokens"))[0]).toMatch(/stored "step", fresh "tokens"/);
  });

  test("that is a view is compared by its data", () => {
    const view = (values: number[], title = "Head 0") =>
      html(matrixView(values, { title, rows: ["a", "b"], columns: ["a", "b"] }).bundle()["text/html"]!);
    expect(between(view([1, 0, 0.5, 0.5]), view([1, 0, 0.5, 0.5003]))).toEqual([]);
    expect(between(view([1, 0, 0.5, 0.5]), view([1, 0, 0.5, 0.75]))[0]).toMatch(
      /values\[3\]: stored "0.5", fresh "0.75"/,
    );
    expect(between(view([1, 0, 0.5, 0.5]), view([1, 0, 0.5, 0.5], "Head 1"))[0]).toMatch(/fresh "Head 1"/);
  });

  test("that is a picture alone is compared by its words", () => {
    const map = (title: string) =>
      html(svgImage(matrixView([1, 0, 0.5, 0.5], { title, rows: ["a", "b"], columns: ["a", "b"] }).svg()));
    expect(between(map("Head 0"), map("Head 0"))).toEqual([]);
    expect(between(map("Head 0"), map("Head 1"))).toHaveLength(1);
  });
});

describe("a number in prose", () => {
  const shown = code([stream("loss 1.9042 after 0.324 of 1,743,807 characters")]);

  test("is bound to the cells of its section", () => {
    expect(unboundNumbers(notebook(markdown("# Loss\nIt reaches 1.90 after 32.4 % of 1,743,807."), shown))).toEqual([]);
    const [fault] = unboundNumbers(notebook(markdown("# Loss\nIt reaches 1.95."), shown));
    expect(fault).toMatch(/^the prose says 1\.95, which no cell of its section shows/);
    expect(unboundNumbers(notebook(markdown("# A"), shown, markdown("# B\nIt was 1.90.")))).toHaveLength(1);
  });

  test("of two digits, without its zero, or in words before percent is bound, too", () => {
    const cells = code([stream("31 runs, a 0.375, error -3.15 %")]);
    const text = (quoted: string) => unboundNumbers(notebook(markdown(`# Sweep\n${quoted}`), cells));
    expect(text("31 runs give a = .375, three percent too low, or .38.")).toEqual([]);
    for (const wrong of ["32 runs", ".47", "four percent", "0.41", "5 per cent"]) expect(text(wrong)).toHaveLength(1);
    expect(unboundNumbers(notebook(markdown("# Limit\nIt is 2e-4."), code([stream("0.00018")])))).toEqual([]);
    expect(unboundNumbers(notebook(markdown("# Limit\nIt is 2e-4."), code([stream("0.00012")])))).toHaveLength(1);
    expect(unboundNumbers(notebook(markdown("# Fall\nIt is 5 %."), code([stream("1.602060  0.049668")])))).toHaveLength(
      1,
    );
    // A share is quoted in per cent only as such.
    expect(text("38 %")).toEqual([]);
    expect(text("38 runs")).toHaveLength(1);
  });

  test("is bound to what a reader sees of a figure, not to its coordinates", () => {
    const line = [{ name: "at 64", x: [1, 2, 3], y: [0.321, 0.514, 0.739] }];
    const figure = lineChart({ title: "Loss of 17 runs", xLabel: "step", yLabel: "loss", series: line });
    const cells = code([html(figureHtml(figure, svgImage(toSvg(figure))))]);
    const text = (quoted: string) => unboundNumbers(notebook(markdown(`# Figure\n${quoted}`), cells));
    expect(text("17 runs, at 64")).toEqual([]);
    expect(text("It passes 0.514.")).toHaveLength(1);
  });

  test("before a heading belongs to the section above, also within a cell", () => {
    const next = markdown("It was 1.90.\n\n## Next\n\nHere it is 1.90.");
    expect(unboundNumbers(notebook(markdown("# Loss"), shown, next))).toEqual([
      expect.stringContaining("Here it is 1.90."),
    ]);
  });

  test("is free in a cell that says that its numbers are quoted", () => {
    const quoted = { ...markdown("# Loss\nGPT-2 has 50,257 ids."), metadata: { tags: ["quoted"] } };
    expect(unboundNumbers(notebook(quoted, shown))).toEqual([]);
  });

  test("is free in code, in formulas, as a year, and beside a source", () => {
    const text =
      "# Loss\n`--lr=0.123`, $0.456$, since 2019.\n\nHoffmann 2022 has 0.339.\n\n[GPT-2](https://x.org) has 50,257.";
    expect(unboundNumbers(notebook(markdown(text), shown))).toEqual([]);
  });
});
