/** The user's notebooks: copies to experiment with, new ones from templates, and the kernel for other front ends. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { installKernel } from "../../bin/notebook/jupyter.mjs";
import { newNotebook, templateNames } from "../../bin/notebook/new-notebook.mjs";
import { openPlayground } from "../../bin/notebook/playground.mjs";
import { packageRoot } from "../../bin/state.mjs";

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-notebook-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(folder, { recursive: true });
});

const write = (name: string, text: string) => {
  fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
  fs.writeFileSync(path.join(folder, name), text);
};
const read = (name: string) => fs.readFileSync(path.join(folder, name), "utf8");

describe("the playground", () => {
  test("has a copy of each notebook, which is updated with it until somebody changes the copy", () => {
    write("notebooks/a.ipynb", "one");
    expect(openPlayground(folder)).toEqual({ folder: path.join(folder, "playground"), kept: [] });
    expect(read("playground/a.ipynb")).toBe("one");
    write("notebooks/a.ipynb", "two");
    openPlayground(folder);
    expect(read("playground/a.ipynb")).toBe("two");
    write("playground/a.ipynb", "mine");
    openPlayground(folder);
    expect(read("playground/a.ipynb")).toBe("mine");
    write("notebooks/a.ipynb", "three");
    expect(openPlayground(folder).kept).toEqual(["a.ipynb"]);
    expect([read("playground/a.ipynb"), read("notebooks/a.ipynb")]).toEqual(["mine", "three"]);
  });
});

describe("a new notebook", () => {
  test("is a template, and never replaces a file", () => {
    const file = path.join(folder, "mine.ipynb");
    for (const name of templateNames(packageRoot)) newNotebook(packageRoot, path.join(folder, name), name);
    expect(fs.readdirSync(folder).sort()).toEqual(["data.ipynb", "experiment.ipynb", "figure.ipynb"]);
    write("mine.ipynb", "mine");
    expect(() => newNotebook(packageRoot, file, "experiment")).toThrow(/it exists already and was left unchanged/);
    expect(read("mine.ipynb")).toBe("mine");
    expect(() => newNotebook(packageRoot, path.join(folder, "b"), "letter")).toThrow(
      "there is no template letter; wanted one of data, experiment, figure.",
    );
  });
});

describe("the kernel", () => {
  test("is registered for the user, again after an update, and does not replace another kernel", () => {
    vi.stubEnv("JUPYTER_DATA_DIR", folder);
    const file = installKernel(packageRoot, "tslab");
    expect(file).toBe(path.join(folder, "kernels", "tslab", "kernel.json"));
    const { argv, language, interrupt_mode } = JSON.parse(fs.readFileSync(file, "utf8"));
    expect([language, interrupt_mode]).toEqual(["typescript", "message"]);
    expect(argv).toContain(path.join(packageRoot, "bin", "notebook-kernel.mjs"));
    expect(argv).toContain("{connection_file}");
    expect(installKernel(packageRoot, "tslab")).toBe(file);
    write("kernels/other/kernel.json", JSON.stringify({ argv: ["tslab", "kernel"] }));
    expect(() => installKernel(packageRoot, "other")).toThrow(/belongs to another kernel/);
    expect(() => installKernel(packageRoot, "../x")).toThrow(/is not a valid name/);
  });
});
