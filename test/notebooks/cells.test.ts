/** Cells are short enough for a projector, and exercises do not show their hints and checks. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { codeCells, readNotebook, textOf } from "./notebook.js";

const files = fs.readdirSync("notebooks").filter((file) => file.endsWith(".ipynb"));

describe.each(files)("%s", (file) => {
  const notebook = readNotebook(path.join("notebooks", file));

  test("hides the code of each exercise, in which its hints and its check stand", () => {
    const open = codeCells(notebook).filter(
      ({ source, metadata }) =>
        textOf(source).includes("folio.exercise(") &&
        !(metadata.jupyter as { source_hidden?: boolean } | undefined)?.source_hidden,
    );
    expect(open.map(({ source }) => textOf(source))).toEqual([]);
  });

  const cells = codeCells(notebook).map(({ source }) => textOf(source).split("\n"));

  test("has no code cell of more than 20 lines, and half of them have at most 14", () => {
    const lengths = cells.map((lines) => lines.filter((line) => line.trim() !== "").length).sort((a, b) => a - b);
    expect(lengths.at(-1)).toBeLessThanOrEqual(20);
    expect(lengths[Math.floor(lengths.length / 2)]).toBeLessThanOrEqual(14);
  });
});
