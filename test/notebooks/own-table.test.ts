/**
 * 21-read-a-study with another table: only its cell with the study is changed. So its code also runs where the public table is
 * missing.
 */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { needs } from "../needs.js";
import { readNotebook, textOf } from "./notebook.js";
import { root, runNotebook } from "./runner.js";

const setUp = fs.existsSync(path.join(root, ".venv", "share", "jupyter", "kernels", "tslab", "kernel.json"));

/** Folio's own sweep, with the constants that its README gives. */
const study = `const study = {
  file: ${JSON.stringify(path.join(root, "scaling", "results", "novels.csv"))},
  ...{ n: "d.n_blocks_head", c: "d.c_palm", d: "d.tokens", loss: "d.loss" },
  rows: "d.role == 'grid'",
  budgets: [1e11, 2e11, 4e11, 8e11, 1.6e12, 3.2e12],
  published: { E: 1.384, A: 54.2, B: 107, alpha: 0.554, beta: 0.43 } as Surface,
  publishedA: [0.39, 0.48],
  goalFlops: 3.2e13,
  holdOut: 3e12,
  windows: [0, 1.5e11, 3e11, 6e11],
};`;

let folder: string;
beforeAll(() => {
  fs.mkdirSync(path.join(root, ".cache"), { recursive: true });
  folder = fs.mkdtempSync(path.join(root, ".cache", "own-table-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

test(
  "a study is exchanged by changing one cell",
  needs(setUp ? undefined : "set-up has not registered the kernel"),
  async () => {
    const notebook = readNotebook(path.join(root, "notebooks", "21-read-a-study.ipynb"));
    const cells = notebook.cells.map((cell) =>
      textOf(cell.source).startsWith("const study = {") ? { ...cell, source: study } : cell,
    );
    expect(cells.filter(({ source }) => source === study)).toHaveLength(1);
    const file = path.join(folder, "own-table.ipynb");
    const metadata = { ...notebook.metadata, folio: { budgetSeconds: 60 } };
    fs.writeFileSync(file, JSON.stringify({ ...notebook, cells, metadata }));
    const { faults, outputs } = await runNotebook(file, { committed: false, patience: 20 });
    expect(faults).toEqual([]);
    const printed = outputs
      .flat()
      .map(({ text }) => textOf(text))
      .join("");
    expect(printed).toContain("Not so in this table: 245 runs with 99 different losses");
    // The fit of scaling/results/README.md: a .437, whose 80 % interval is .39 to .48.
    expect(printed).toMatch(/a 0\.437, 80 %: 0\.39\d to 0\.48\d/);
    expect(printed).toContain("By these 63 runs, N* grows as C^0.44");
    expect(printed).toContain("do not exclude each other.");
  },
);
