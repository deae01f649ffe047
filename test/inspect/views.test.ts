/** Views: their numbers against the library's, their still pictures and words, and what they refuse. */
import { inflateSync } from "node:zlib";
import * as tf from "@tensorflow/tfjs-core";
import { parseHTML } from "linkedom";
import { beforeAll, describe, expect, test } from "vitest";
import { float32, mapRecord } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { uniform } from "../../lib/host/random.js";
import { look } from "../../lib/inspect/look.js";
import { logitAttribution } from "../../lib/inspect/measures/logit-attribution.js";
import { logitLens } from "../../lib/inspect/measures/logit-lens.js";
import { tokenLosses } from "../../lib/inspect/measures/token-losses.js";
import { type AttentionData, direction, headWeights } from "../../lib/inspect/page/attention.js";
import { drawingProbabilities, tokenAt } from "../../lib/inspect/page/next-token.js";
import { open, percent, shortNumber, shownToken } from "../../lib/inspect/page/parts/numbers.js";
import { cssColor, picture, scaleOf, strength } from "../../lib/inspect/page/parts/scale.js";
import { slice } from "../../lib/inspect/page/slices.js";
import type { TreeNode } from "../../lib/inspect/page/tree.js";
import { arrayView, valueView } from "../../lib/inspect/views/array.js";
import { attentionView } from "../../lib/inspect/views/attention.js";
import { matrixView } from "../../lib/inspect/views/matrix.js";
import { attributionView, logitLensView, promptsView, tokenLossView } from "../../lib/inspect/views/measured.js";
import { modelTree, modelTreeView } from "../../lib/inspect/views/model-tree.js";
import { nextTokenView } from "../../lib/inspect/views/next-token.js";
import { pack, png } from "../../lib/inspect/views/pack.js";
import type { View } from "../../lib/inspect/views/view.js";
import { initialParameters } from "../../lib/model/model.js";
import { countParameters, flopsTable } from "../../lib/model/sizing.js";
import { drawTokens, sampleProbabilities } from "../../lib/sample/next-token.js";
import { goldenModel } from "./golden-models.js";

const toHostNow = (tensor: tf.Tensor) => float32(tensor.dataSync() as Float32Array, tensor.shape);

beforeAll(() => {
  loadTensorFlow();
});

describe("attention", () => {
  test("of a head from queries and keys is the model's own, to three digits", async () => {
    const { ids, held } = goldenModel("erf");
    const { nHead, nEmbd } = held.settings;
    const T = ids.length;
    const seen = await look(held, ids, ["h.1.attn.q", "h.1.attn.k", "h.1.attn.weights"]);
    const shape = [1, nHead, T, nEmbd / nHead];
    const data: AttentionData = {
      ...{ title: "", tokens: seen.tokens, layers: [1], heads: nHead, first: [0, 0], thumbnails: pack([], [0]) },
      ...{
        queries: pack(seen.values["h.1.attn.q"].values, shape),
        keys: pack(seen.values["h.1.attn.k"].values, shape),
      },
    };
    for (let head = 0; head < nHead; head++) {
      const wanted = seen.values["h.1.attn.weights"].values.subarray(head * T * T, (head + 1) * T * T);
      const found = headWeights(data, 0, head);
      expect(Math.max(...found.map((x, i) => Math.abs(x - wanted[i]!)))).toBeLessThan(1e-3);
    }
  });

  test("in both directions: the row of a token, its column, and nothing from the future", () => {
    const weights = Float32Array.of(1, 0, 0, 0.25, 0.75, 0, 0.5, 0.2, 0.3);
    expect([...direction(weights, 1, "to")]).toEqual([0.25, 0.75, Number.NaN]);
    expect([...direction(weights, 1, "from")].map((x) => Number(x.toFixed(6)))).toEqual([Number.NaN, 0.75, 0.2]);
  });

  test("of weights at hand: the words name the position with the largest weight", () => {
    const rows = [
      [1, 0, 0],
      [0.9, 0.1, 0],
      [0.2, 0.3, 0.5],
    ].map((row) => Float32Array.from(row));
    const view = attentionView({ tokens: ["a", "b", " "], weights: [[rows]] }, { title: "By hand" });
    expect(view.text()).toContain("By hand: layer 0, head 0.");
    expect(view.svg()).toContain("rows: layer 0; columns: head 0<");
    expect(view.text()).toContain("b (1) → a (0) 90.0 %");
    expect(view.text()).toContain("␣ (2) → ␣ (2) 50.0 %");
  });

  test("of a long text travels as queries and keys, of a short one, or an edited one, as weights", async () => {
    const { held } = goldenModel("erf");
    const settings = { ...held.settings, blockSize: 130 };
    const long = { params: mapRecord(initialParameters(settings, 1), toHostNow), settings };
    const ids = Array.from({ length: 130 }, (_, i) => i % settings.vocabSize);
    const sent = (view: View) => Object.keys(JSON.parse(/"attention", (\{.*\})\)/s.exec(view.html())![1]!));
    expect(sent(await attentionView(long, ids))).toEqual(expect.arrayContaining(["queries", "keys"]));
    expect(sent(await attentionView(long, ids.slice(0, 9)))).toContain("weights");
    const edits = { "h.0.attn.weights": { to: "zero", heads: [0] } } as const;
    const edited = await attentionView(long, ids, { edits });
    expect(sent(edited)).toContain("weights");
    expect(edited.text()).toContain("0 (0) → 0 (0) 0.00 %");
  });

  test("refuses a head that there is not", async () => {
    const { ids, held } = goldenModel("erf");
    await expect(attentionView(held, ids, { head: 7 })).rejects.toThrow(
      "there is no layer 0, head 7; wanted layers 0 to",
    );
    const single = { tokens: ["a"], weights: [[[[1]]]] };
    expect(() => attentionView(single, { head: 1 })).toThrow("no layer 0, head 1; wanted layer 0, head 0.");
  });
});

describe("the next token", () => {
  test("has the sampler's probabilities and draws its tokens, whatever the settings", () => {
    for (let trial = 0; trial < 200; trial++) {
      let draws = 0;
      const next = () => uniform(7, "sliders", trial, ++draws);
      const V = 2 + Math.floor(next() * 60);
      const logits = Float32Array.from({ length: V }, () => Math.round((next() * 12 - 6) * 8) / 8); // ties, too
      const temperature = 0.1 + 1.9 * next();
      const topK = Math.floor(next() * (V + 2));
      const topP = next() < 0.3 ? 1 : 0.05 + 0.95 * next();
      const u = Math.fround(next() * 0.999);
      const found = drawingProbabilities(logits, { temperature, topK, topP });
      const [wanted, drawn] = tf.tidy(() => {
        const filter = { topK, ...(topP < 1 && { topP: tf.scalar(topP) }) };
        const probabilities = sampleProbabilities(tf.tensor2d(logits, [1, V]), tf.scalar(temperature), filter);
        return [probabilities.dataSync(), drawTokens(probabilities, tf.tensor2d([u], [1, 1])).dataSync()[0]!] as const;
      });
      const furthest = Math.max(...found.map((p, i) => Math.abs(p - wanted[i]!)));
      expect({ trial, topK, topP, near: furthest <= 1e-6 }).toEqual({ trial, topK, topP, near: true });
      // Within rounding of the boundary between two tokens either is right.
      const below = found.slice(0, drawn).reduce((sum, p) => sum + p, 0);
      const inside = u > below - 1e-5 && u < below + found[drawn]! + 1e-5;
      expect({ trial, inside }).toEqual({ trial, inside: true });
      if (u > below + 1e-5 && u < below + found[drawn]! - 1e-5) expect(tokenAt(found, u)).toBe(drawn);
    }
  });

  test("refuses a temperature of 0 and a share above 1", () => {
    const logits = { logits: [1, 2], token: String };
    expect(() => nextTokenView(logits, { temperature: 0 })).toThrow("temperature is 0; wanted above 0");
    expect(() => nextTokenView(logits, { topP: 1.5 })).toThrow("topP is 1.5; wanted above 0, to 1");
    expect(() => nextTokenView(logits, { topK: 0.5 })).toThrow("topK is 0.5; wanted a whole number");
  });

  test("says the likeliest token first, of a model as of logits", async () => {
    const { ids, held } = goldenModel("tanh");
    const { values } = await look(held, ids, ["logits"]);
    const logits = values.logits.values.slice(-held.settings.vocabSize);
    const lines = (await nextTokenView(held, ids)).text().split("\n");
    const best = logits.indexOf(Math.max(...logits));
    const sum = logits.reduce((total, x) => total + Math.exp(x), 0);
    expect(lines[1]).toBe(`  ${percent(Math.exp(logits[best]!) / sum).padStart(7)}  ${best}`);
    expect(nextTokenView({ logits, token: String }).text().split("\n")[1]).toBe(lines[1]);
  });
});

describe("the model's tree", () => {
  test("has the library's parameters and FLOPs", () => {
    for (const model of ["erf", "tanh", "untied"] as const) {
      const { settings } = goldenModel(model).held;
      const tree = modelTree(settings);
      expect(tree.parameters).toBe(countParameters(settings));
      const forward = flopsTable(settings).find(({ part }) => part === "forward")!.count;
      expect(tree.flops! * settings.blockSize).toBe(forward);
    }
  });

  test("has the parts of every layer", () => {
    const { settings } = goldenModel("erf").held;
    const names = (node: TreeNode): string[] => [node.name, ...(node.children ?? []).flatMap(names)];
    const block = ["ln_1", "attn", "c_attn", "heads", "c_proj", "ln_2", "mlp", "c_fc", "c_proj"];
    const parts = names(modelTree(settings)).filter((name) => name !== "weight" && name !== "bias");
    const layers = Array.from({ length: settings.nLayer }, (_, layer) => [`h.${layer}`, ...block]).flat();
    expect(parts).toEqual(["GPT", "wte", "wpe", ...layers, "ln_f", "lm_head"]);
  });
});

describe("a matrix", () => {
  const labelsOf = (view: View) =>
    [...parseHTML(`<html><body>${view.svg()}</body></html>`).document.querySelectorAll("text.label")].map((label) => ({
      shown: [...label.childNodes].filter(({ nodeName }) => nodeName === "#text").map(({ textContent }) => textContent),
      whole: label.querySelector("title")?.textContent,
    }));
  const wanted = (label: string) => ({ shown: [label], whole: undefined });

  test("writes long names of rows and columns in full where its cells leave room", () => {
    const names = ["layer 0, head 3: previous-token score", "layer 1, head 2: induction score"];
    const upright = labelsOf(matrixView([[1], [0.5]], { rows: names, columns: ["score"] }));
    const across = labelsOf(matrixView([[1, 0.5]], { rows: ["score"], columns: names }));
    expect(upright).toEqual(expect.arrayContaining(names.map(wanted)));
    expect(across).toEqual(expect.arrayContaining(names.map(wanted)));
  });

  test("labels the last column, too, where not every label fits", () => {
    const columns = Array.from({ length: 48 }, (_, i) => `n${i}`);
    const shown = labelsOf(matrixView(new Array(48).fill(1), { rows: ["row"], columns })).flatMap(({ shown }) => shown);
    const labelled = columns.flatMap((label, i) => (shown.includes(label) ? [i] : []));
    expect(labelled[0]).toBe(0);
    expect(labelled.at(-1)).toBe(47);
    expect(Math.min(...labelled.slice(1).map((at, i) => at - labelled[i]!))).toBeGreaterThan(1);
  });

  test("cuts a name for which there is no room, and the pointer shows it whole", () => {
    const name = "a name ".repeat(30);
    const values = new Array(40).fill(1);
    const [label] = labelsOf(matrixView(values, { rows: [name], columns: values.map(String) }));
    expect(label!.shown.join("")).toMatch(/^(a name )+.*…$/);
    expect(label!.whole).toBe(name);
  });
});

describe("arrays by slices", () => {
  test("show the two axes that are asked for, at the places of the others", () => {
    const values = Float32Array.from({ length: 24 }, (_, i) => i);
    const data = {
      ...{ title: "", unit: "", axes: ["A", "B", "C"], labels: {}, high: 23, signed: false },
      array: pack(values, [2, 3, 4]),
    };
    expect([...slice(data, [1, 2], [1, 0, 0])]).toEqual([...values.subarray(12)]);
    expect([...slice(data, [2, 0], [0, 2, 0])]).toEqual([8, 20, 9, 21, 10, 22, 11, 23]);
    expect([...slice({ ...data, axes: ["A"], array: pack(values, [24]) }, [1, 0], [0])]).toEqual([...values]);
  });

  test("have the tokens as labels, and words with the range", async () => {
    const { ids, held } = goldenModel("erf");
    const seen = await look(held, ids, ["h.0.mlp.act"]);
    const { values, shape } = seen.values["h.0.mlp.act"];
    const view = valueView(seen, "h.0.mlp.act");
    expect(view.text()).toContain(`h.0.mlp.act [B = 1, T = ${ids.length}, 4C = ${shape[2]}]`);
    expect(view.text()).toContain(`from ${shortNumber(Math.min(...values))} to ${shortNumber(Math.max(...values))}`);
    expect(() => arrayView(seen.values["h.0.mlp.act"], { axes: ["a", "b"] })).toThrow("it has 3 axes");
  });
});

describe("what a page is made of", () => {
  test("arrays survive packing: float32 exactly, float16 to three digits, uint8 as shares", () => {
    const values = Float32Array.of(0, 0.1, -2.5, 1e-5, 300);
    expect([...open(pack(values, [5], "float32")).read(0, 5)]).toEqual([...values]);
    for (const [i, x] of open(pack(values, [5]))
      .read(0, 5)
      .entries())
      expect(Math.abs(x - values[i]!)).toBeLessThanOrEqual(Math.abs(values[i]!) * 1e-3 + 1e-7);
    expect([...open(pack([0, 0.2, 1], [3], "uint8")).read(1, 2)]).toEqual([Math.fround(51 / 255), 1]);
    expect(() => pack([1, 2, 3], [2, 2])).toThrow("it has 3 values; wanted [2, 2]");
  });

  test("pixels become a PNG file with these pixels", () => {
    const pixels = Uint8ClampedArray.from({ length: 2 * 3 * 4 }, (_, i) => i * 10);
    const file = png(pixels, 3, 2);
    expect([file.readUInt32BE(16), file.readUInt32BE(20), file[24], file[25]]).toEqual([3, 2, 8, 6]);
    const length = file.readUInt32BE(33);
    expect(file.toString("latin1", 37, 41)).toBe("IDAT");
    const rows = inflateSync(file.subarray(41, 41 + length));
    expect([...rows]).toEqual([0, ...pixels.subarray(0, 12), 0, ...pixels.subarray(12)]);
  });

  test("colours: opacity follows the value, its root where asked, orange is negative", () => {
    const scale = scaleOf("", [0.5, -2, 1], { signed: true });
    expect(scale.high).toBe(2);
    expect([strength(1, scale), strength(-1, scale), strength(9, scale)]).toEqual([0.5, 0.5, 1]);
    expect(strength(0.25, { label: "", high: 1, root: true })).toBe(0.5);
    expect(strength(-3, { label: "", high: 1 })).toBe(0);
    expect([cssColor(1, scale), cssColor(-1, scale)]).toEqual([
      "rgba(43, 123, 186, 0.500)",
      "rgba(217, 102, 44, 0.500)",
    ]);
    expect(picture([0, 1], 2, scale)).toMatch(/^data:image\/png;base64,/);
  });

  test("numbers and tokens as people read them", () => {
    expect([0, 0.12345, -1234.5, 2e-9, Number.NaN, -Infinity].map(shortNumber)).toEqual([
      "0",
      "0.123",
      "−1235",
      "2.00e−9",
      "NaN",
      "−∞",
    ]);
    expect([percent(0.5), percent(0.0123)]).toEqual(["50.0 %", "1.23 %"]);
    expect(["a b", "\n", "", "\u0007"].map(shownToken)).toEqual(["a␣b", "⏎", "∅", "␇"]);
  });
});

/** What is left of a document after its elements, innermost first: nothing, if it is well formed XML, as a picture must be. */
function restOfXml(document: string): string {
  const attributes = String.raw`(?:\s+[\w:-]+="[^"<&]*(?:&#?\w+;[^"<&]*)*")*\s*`;
  const element = new RegExp(String.raw`<([\w-]+)${attributes}(?:/>|>(?:[^<&]|&#?\w+;)*</\1>)`, "g");
  let [before, rest] = ["", document];
  while (rest !== before) [before, rest] = [rest, rest.replace(element, "")];
  return rest;
}

describe("every view", () => {
  const make = async () => {
    const { ids, held } = goldenModel("erf");
    const losses = await tokenLosses(held, ids);
    return {
      attention: await attentionView(held, ids),
      nextToken: await nextTokenView(held, ids),
      tree: modelTreeView(held),
      array: arrayView({ dtype: "float32", shape: [2, 2], values: Float32Array.of(1, -2, 3, 4) }),
      lens: logitLensView(await logitLens(held, ids)),
      losses: tokenLossView(losses),
      attribution: attributionView(await logitAttribution(held, ids, { token: 3 })),
      prompts: promptsView([losses, losses]),
    };
  };

  test("gives a still picture that is well formed and labelled, and a page that loads nothing", async () => {
    for (const [name, view] of Object.entries(await make())) {
      expect([name, restOfXml(view.svg()).slice(0, 300)]).toEqual([name, ""]);
      const { document } = parseHTML(`<html><body>${view.svg()}</body></html>`);
      const svg = document.querySelector("svg")!;
      expect([name, svg.getAttribute("role"), (svg.getAttribute("aria-label") ?? "").length > 3]).toEqual([
        name,
        "img",
        true,
      ]);
      expect([name, svg.getAttribute("xmlns")]).toEqual([name, "http://www.w3.org/2000/svg"]);
      const html = view.html();
      const addresses = html.match(/(?:src|href)=["']?https?:|url\(|@import|fetch\(|XMLHttpRequest/g);
      expect([name, addresses]).toEqual([name, null]);
      expect([name, view.bundle()["text/plain"]]).toEqual([name, view.text()]);
      expect(view.bundle()["text/html"]).toContain("<img src=");
      // What somebody hears who cannot see the picture: its words, as many whole lines as are short enough.
      const page = parseHTML(`<html><body>${html}</body></html>`).document;
      const alt = page.querySelector("img")?.getAttribute("alt") ?? "";
      const words = view.text().replaceAll("\n", " ");
      const isWhole = words.length <= 600;
      expect([name, alt.length <= 602, isWhole ? alt : alt.slice(-2)]).toEqual([name, true, isWhole ? words : " …"]);
      expect([name, words.startsWith(alt.replace(/ …$/, ""))]).toEqual([name, true]);
    }
  });

  test("says its numbers in words", async () => {
    const { ids, held } = goldenModel("erf");
    const views = await make();
    const losses = await tokenLosses(held, ids);
    const worst = Math.max(...losses.losses.map((loss) => loss ?? 0));
    expect(views.losses.text()).toContain(`mean ${shortNumber(losses.mean)} nats`);
    expect(views.losses.text().split("\n")[1]).toContain(shortNumber(worst));
    const attribution = await logitAttribution(held, ids, { token: 3 });
    expect(views.attribution.text()).toContain(`sum`);
    expect(views.attribution.text().trimEnd().endsWith(shortNumber(attribution.sum))).toBe(true);
    const lens = await logitLens(held, ids);
    const first = lens.predictions.at(-1)!.map(({ top }) => top[0]!.token);
    expect(views.lens.text().split("\n")[2]!.trim().split(/\s+/)).toEqual([lens.states.at(-1), ...first.slice(0, 12)]);
  });
});
