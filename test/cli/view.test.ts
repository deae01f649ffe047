import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { openEmbedded, type PageDescription } from "../../lib/inspect/live/embedded.js";
import { livePage } from "../../lib/inspect/live/write-page.js";
import { openModel } from "../../lib/weights/open-model.js";
import { goldenModel } from "../inspect/golden-models.js";
import { temporaryFolder } from "../tiny-run.js";
import { folio } from "./in-process.js";

const folder = temporaryFolder();

/** What a page holds. */
function contentOf(html: string) {
  const content = (id: string) => new RegExp(`id="${id}">([^<]*)<`).exec(html)![1]!;
  return { description: JSON.parse(content("description")) as PageDescription, weights: content("weights") };
}

describe("folio view", () => {
  test("writes the model, its text and prompt into one file, and says what it needs", async () => {
    const [to, text] = [path.join(folder, "model.html"), path.join(folder, "text.txt")];
    fs.writeFileSync(text, "interface <b>Window</b></script> extends\r\n");
    const { code, out, err } = await folio("view", "induction", `--to=${to}`, `--text=${text}`, "--title=A <model>");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(
      /model\.html: 428,800 parameters in float16 \(rounding changes no probability after the prompt\), a file of \d\.\d MB; a browser needs about/,
    );
    const html = fs.readFileSync(to, "utf8");
    const { description, weights } = contentOf(html);
    expect(description).toMatchObject({ title: "A <model>", text: "interface <b>Window</b></script> extends\n" });
    expect(html).toContain("<title>A &lt;model&gt;</title>");
    const model = await openModel("induction");
    expect(openEmbedded(description, weights).params).toEqual(model.params);
    expect(html).not.toMatch(/(src|href)\s*=\s*["']?https?:/);
  });

  test("stores float32 where rounding would show, and names the loss of rounding", async () => {
    const { held, ids } = goldenModel("erf");
    const tokenizer = { kind: "none", vocabSize: held.settings.vocabSize } as const;
    const prompt = ids.join(" ");
    const sharp = Object.fromEntries(
      Object.entries(held.params).map(([name, host]) => [
        name,
        { ...host, values: (host.values as Float32Array).map((x) => (name === "ln_f.weight" ? 300.123 * x : x)) },
      ]),
    );
    const auto = await livePage({ params: sharp, settings: held.settings, tokenizer }, { prompt });
    expect(auto.floats).toBe("float32");
    expect(auto.change).toBeGreaterThan(0.0005);
    const half = await livePage({ ...held, tokenizer }, { prompt });
    expect(half.floats).toBe("float16");
    expect(half.change).toBeLessThan(0.0005);
  });

  const to = `--to=${folder}/x.html`;
  const wrong: [string[], string][] = [
    [[], "no model is named; write folio view RUN --to=FILE.html"],
    [["induction"], "no file is named; write --to=FILE.html"],
    [["induction", "--to=x.txt"], "--to is x.txt; wanted a name that ends in .html"],
    [["induction", "other", to], "other is a second model; name one"],
    [["induction", "--too=x.html"], "there is no flag --too; did you mean --to?"],
    [["induction", to, "--dtype=int8"], "dtype is int8; wanted auto, float32, float16"],
    [["induction", to, "--text=missing.txt"], "missing.txt"],
    [["induction", to, "--prompt=☃"], "is not in the vocabulary"],
    [["inductoin", to], "Did you mean induction?"],
    [["induction", `--to=${folder}/none/x.html`], "none; make it, or name another file with --to."],
  ];
  for (const [args, message] of wrong) {
    test(`refuses ${args.join(" ").replaceAll(folder, "…") || "no arguments"}`, async () => {
      const { code, err } = await folio("view", ...args);
      expect(code).toBe(1);
      expect(err).toContain(message);
      expect(fs.existsSync(path.join(folder, "x.html"))).toBe(false);
    });
  }
});
