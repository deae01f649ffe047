/** The user's notebooks: copies to experiment with, new ones from templates, and the kernel for other front ends. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { readLabArguments } from "../../bin/lab.mjs";
import { installKernel } from "../../bin/notebook/jupyter.mjs";
import { newNotebook, templateNames } from "../../bin/notebook/new-notebook.mjs";
import { openPlayground } from "../../bin/notebook/playground.mjs";
import { packageRoot } from "../../bin/state.mjs";
import { openKernel } from "../notebooks/kernel.js";
import { codeCells, readNotebook, textOf } from "../notebooks/notebook.js";

const python = path.join(packageRoot, ".venv", "bin", "python");
const { version } = JSON.parse(fs.readFileSync(path.join(packageRoot, "package.json"), "utf8")) as { version: string };
const setUp = fs.existsSync(path.join(packageRoot, ".venv", "share", "jupyter", "kernels", "tslab", "kernel.json"));

/** The README's program, shortened to some steps. */
function readmeProgram(steps: number): string {
  const readme = fs.readFileSync(path.join(packageRoot, "README.md"), "utf8");
  const [, program = ""] = /## In a program\n\n```ts\n(.*?)```/s.exec(readme) ?? [];
  return program.replaceAll(/(Iters|Interval): \d{3,}/g, `$1: ${steps}`);
}

/** A template's cell, whose trainings take fewer steps. */
function shortened(source: string): string {
  return source.replaceAll(/(\.\.\.presets\.toy, .*?)(, maxIters: \d+)? \}/g, "$1, maxIters: 20 }");
}

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

describe("the lab", () => {
  test("passes every option but --inspect to JupyterLab, also behind --", () => {
    const wanted = { folder: "mine", port: undefined, options: ["--no-browser", "--allow-root"] };
    expect(readLabArguments(["mine", "--no-browser", "--allow-root"])).toEqual(wanted);
    expect(readLabArguments(["mine", "--", "--no-browser", "--allow-root"])).toEqual(wanted);
    expect(readLabArguments(["--inspect=9230"])).toEqual({ folder: undefined, port: "9230", options: [] });
    expect(() => readLabArguments(["mine", "--port", "8899"])).toThrow("found mine, 8899; an option's value follows");
  });

  test("says in its help how to start it as root, and through npm", () => {
    const folio = path.join(packageRoot, "bin", "folio.mjs");
    const help = execFileSync(process.execPath, [folio, "lab", "--help"], { encoding: "utf8" });
    expect(help).toContain("as root, --allow-root");
    expect(help).toContain("npm run lab -- --no-browser --allow-root");
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

  test.skipIf(!setUp)(
    "is listed by Jupyter, and runs every template in a folder of the user's",
    { timeout: 900_000 },
    async () => {
      const dataDir = path.join(folder, "jupyter");
      vi.stubEnv("JUPYTER_DATA_DIR", dataDir);
      installKernel(packageRoot, "mine");
      const listed = execFileSync(python, ["-m", "jupyter", "kernelspec", "list"], { encoding: "utf8" });
      expect(listed).toMatch(/^ +mine +\S+jupyter.kernels.mine$/m);
      for (const name of templateNames(packageRoot)) {
        const file = newNotebook(packageRoot, path.join(folder, "own", name), name);
        const kernel = await openKernel(path.dirname(file), "mine", dataDir);
        try {
          for (const cell of codeCells(readNotebook(file))) {
            const source = shortened(textOf(cell.source));
            const { status, traceback } = await kernel.run(source);
            expect([status, traceback], `${name}: ${source}`).toEqual(["ok", ""]);
          }
        } finally {
          await kernel.close();
        }
      }
      expect(fs.readdirSync(path.join(folder, "own"))).toEqual(
        expect.arrayContaining(["out-small", "out-large", "out-my-text", "figure.svg"]),
      );
    },
  );

  test.skipIf(!setUp)(
    "is in the package, and finds it in the project where it is installed",
    { timeout: 300_000 },
    async () => {
      const project = path.join(folder, "project");
      const packages = path.join(project, "node_modules");
      fs.mkdirSync(packages, { recursive: true });
      execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", folder], {
        cwd: packageRoot,
        stdio: "pipe",
      });
      execFileSync("tar", ["-xzf", path.join(folder, `folio-${version}.tgz`), "-C", packages]);
      fs.renameSync(path.join(packages, "package"), path.join(packages, "folio"));
      // The dependencies, without those that only a checkout has.
      for (const name of fs.readdirSync(path.join(packageRoot, "node_modules"))) {
        if (name === "folio" || name.startsWith(".")) continue;
        fs.symlinkSync(path.join(packageRoot, "node_modules", name), path.join(packages, name));
      }
      const dataDir = path.join(folder, "jupyter");
      const command = [
        path.join(packages, "folio", "bin", "folio.mjs"),
        "kernel",
        "install",
        "--user",
        "--name=packed",
      ];
      execFileSync(process.execPath, command, { cwd: project, env: { ...process.env, JUPYTER_DATA_DIR: dataDir } });
      const kernel = await openKernel(project, "packed", dataDir);
      try {
        const { result, traceback } = await kernel.run(
          'import { presets } from "folio";\nimport config from "folio/configs/cpu_demo";\n[presets.toy.nLayer, config.dataset]',
        );
        expect([result?.["text/plain"], traceback]).toEqual(["[ 2, 'shakespeare_char' ]", ""]);
        fs.writeFileSync(path.join(project, "poems.txt"), "The woods are lovely, dark and deep.\n".repeat(200));
        const program = await kernel.run(readmeProgram(20));
        expect(program.traceback).toBe("");
        expect(program.stdout).toMatch(/^0 \d\.\d+\n20 \d\.\d+\n/);
        const { result: at } = await kernel.run('require.resolve("folio")');
        expect(at?.["text/plain"]).toBe(fs.realpathSync(path.join(packages, "folio", "dist", "lib", "index.js")));
      } finally {
        await kernel.close();
      }
    },
  );
});
