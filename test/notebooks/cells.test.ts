/** Cells are short enough for a projector. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { codeCells, readNotebook, textOf } from "./notebook.js";

const files = fs.readdirSync("notebooks").filter((file) => file.endsWith(".ipynb"));

describe.each(files)("%s", (file) => {
  const notebook = readNotebook(path.join("notebooks", file));
  const cells = codeCells(notebook).map(({ source }) => textOf(source).split("\n"));

  test("has no code cell of more than 20 lines, and half of them have at most 14", () => {
    const lengths = cells.map((lines) => lines.filter((line) => line.trim() !== "").length).sort((a, b) => a - b);
    expect(lengths.at(-1)).toBeLessThanOrEqual(20);
    expect(lengths[Math.floor(lengths.length / 2)]).toBeLessThanOrEqual(14);
  });
});
