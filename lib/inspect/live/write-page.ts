/** Writes a model as a page: one file in which it runs, is looked into and is trained on, without a network. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { escapeHtml } from "../../charts/html-page.js";
import { escapeScript, scriptJson } from "../../charts/page-script.js";
import type { Tokenizer } from "../../data/tokenizers/tokenizer.js";
import type { HostTensors } from "../../engine/host-tensors.js";
import type { MimeBundle } from "../../host/notebook.js";
import { packageRoot } from "../../host/package.js";
import { replaceFile } from "../../host/replace-file.js";
import { fromHalf, toHalf } from "../../host/sixteen-bit.js";
import { parameterSpecs } from "../../model/model.js";
import { countParameters } from "../../model/sizing.js";
import { shapeOf } from "../../settings/model.js";
import { type LookedAt, look, tokenizerOf } from "../look.js";
import { softmax } from "../probabilities.js";
import type { PageDescription } from "./embedded.js";

export interface LivePageOptions {
  readonly title?: string;
  /** The prompt that is shown first; default: the beginning of `text`, or a few tokens. */
  readonly prompt?: string;
  /** A text to train on in the page. */
  readonly text?: string;
  /** How weights are stored; auto (the default): float16 where no probability changes by 0.0005 or more. */
  readonly dtype?: "auto" | "float32" | "float16";
}

/** What a page is. */
export interface PageFacts {
  readonly parameters: number;
  readonly floats: "float32" | "float16";
  /** Of the file. */
  readonly bytes: number;
  /** The largest change of a next-token probability on the prompt by rounding to float16; absent where it was not measured. */
  readonly change?: number;
  /** Roughly what a browser holds, in bytes: to look inside, and to train. */
  readonly memory: { readonly look: number; readonly train: number };
}

/** A page with its facts. */
export interface LivePage extends PageFacts {
  readonly html: string;
}

/** A page that was written; as the last expression of a notebook's cell it is shown inside the notebook. */
export interface WrittenPage extends PageFacts {
  readonly file: string;
  /** The facts in words. */
  text(): string;
  bundle(): MimeBundle;
}

/** Beyond this a browser's longest text does not hold the weights. */
const mostBytes = 380e6;
const smallestChange = 0.0005;

/**
 * The page of a model.
 * @throws {RangeError} if the model does not bring its tokenizer, cannot encode the prompt or the text, or is too large for a page
 * @example
 * writeFileSync("model.html", (await livePage(openCheckpoint("out"))).html);
 */
export async function livePage(model: LookedAt, options: LivePageOptions = {}): Promise<LivePage> {
  const { dtype = "auto", text = "" } = options;
  const tokenizer = tokenizerOf(model);
  if (!tokenizer)
    throw new RangeError("Cannot make a page: the model does not bring its tokenizer; give { ...model, tokenizer }.");
  const shape = shapeOf(model.settings);
  const parameters = countParameters(shape);
  const prompt = options.prompt ?? firstPrompt(tokenizer, text, shape.blockSize);
  checkTexts(tokenizer, prompt, text);
  const change = dtype === "float32" ? undefined : await changeByRounding(model, prompt);
  const floats =
    dtype === "float16" || (change !== undefined && dtype === "auto" && change < smallestChange)
      ? "float16"
      : "float32";
  const bytes = parameters * (floats === "float16" ? 2 : 4);
  if (bytes > mostBytes)
    throw new RangeError(
      `Cannot make a page: ${parameters.toLocaleString("en")} parameters in ${floats} are ${Math.round(bytes / 1e6)} MB; a page holds up to ${mostBytes / 1e6} MB${floats === "float32" ? " (--dtype=float16 halves it)" : ""}.`,
    );
  const description: PageDescription = {
    ...{ title: options.title ?? "A language model, opened", model: shape, tokenizer: tokenizer.toJSON() },
    ...{ floats, prompt, text },
  };
  const html = pageHtml(
    description,
    weights(
      model.params,
      parameterSpecs(shape).map(({ name }) => name),
      floats,
    ),
  );
  // Weights as text, as bytes and on the backend; training adds gradients and two moments.
  const memory = { look: 3 * 4 * parameters + html.length, train: 8 * 4 * parameters + html.length };
  return { html, parameters, floats, bytes: Buffer.byteLength(html), ...(change !== undefined && { change }), memory };
}

/**
 * Writes the page to a file.
 * @throws as livePage, and {Error} if the file cannot be written
 * @example await writeLivePage(openCheckpoint("out"), "model.html", { text: readFileSync("poems.txt", "utf8") });
 */
export async function writeLivePage(model: LookedAt, to: string, options: LivePageOptions = {}): Promise<WrittenPage> {
  const { html, ...facts } = await livePage(model, options);
  try {
    replaceFile(to, html);
  } catch (error) {
    throw new Error(`Cannot write the page ${to}: ${(error as Error).message}; choose a place that can be written.`, {
      cause: error,
    });
  }
  const file = path.resolve(to);
  const text = () => `${file}: ${inWords(facts)}`;
  return { ...facts, file, text, bundle: () => ({ "text/html": frame(file, inWords(facts)), "text/plain": text() }) };
}

function inWords({ parameters, floats, bytes, memory, change }: PageFacts): string {
  const megabytes = (count: number) => `${(count / 1e6).toFixed(1)} MB`;
  const most = change === undefined ? "" : `${Number(change.toPrecision(1))}`;
  const rounding =
    change === undefined
      ? ""
      : floats === "float16"
        ? ` (rounding changes no probability after the prompt${change > 0 ? ` by more than ${most}` : ""})`
        : ` (rounding to float16 would change a probability by ${most})`;
  return `${parameters.toLocaleString("en")} parameters in ${floats}${rounding}, a file of ${megabytes(bytes)}; a browser needs about ${megabytes(memory.look)} of memory to look inside, and ${megabytes(memory.train)} to train.`;
}

/** The page inside a notebook, which finds the file from where it stands; where it cannot be shown, its facts. */
function frame(file: string, facts: string): string {
  const address = path.relative(process.cwd(), file).split(path.sep).map(encodeURIComponent).join("/");
  const style = "width: 100%; height: 40rem; border: 1px solid #8885; border-radius: 8px";
  return `<iframe src="${address}" title="The model in a page" style="${style}"></iframe>\n<p>${escapeHtml(facts)}</p>`;
}

/** Some tokens to begin with. */
function firstPrompt(tokenizer: Tokenizer, text: string, blockSize: number): string {
  const most = Math.min(48, blockSize);
  if (text) return tokenizer.decode(tokenizer.encode(text.slice(0, 8 * most)).slice(0, most)).replace(/\uFFFD+$/, "");
  for (const candidate of ["interface Window extends ", "Once upon a time", "\n", "0"]) {
    try {
      if (tokenizer.encode(candidate).length <= blockSize) return candidate;
    } catch {
      // a character that the model does not know
    }
  }
  return tokenizer.decode([0]);
}

function checkTexts(tokenizer: Tokenizer, ...texts: readonly string[]): void {
  for (const text of texts) tokenizer.encode(text); // throws, and names the character
}

/** The largest change of a next-token probability on the prompt, if weights are rounded to float16. */
async function changeByRounding(model: LookedAt, prompt: string): Promise<number> {
  const rounded: HostTensors = Object.fromEntries(
    Object.entries(model.params).map(([name, host]) => [
      name,
      { ...host, values: fromHalf("float16", toHalf("float16", host.values as Float32Array)) },
    ]),
  );
  const ids = tokenizerOf(model)!.encode(prompt);
  const shown = Array.from(ids.slice(-model.settings.blockSize));
  const [exact, other] = await Promise.all(
    [model, { ...model, params: rounded }].map(
      async (one) => (await look(one, shown, ["logits"])).values.logits.values,
    ),
  );
  const V = model.settings.vocabSize;
  let largest = 0;
  for (let t = 0; t < shown.length; t++) {
    const [p, q] = [exact!, other!].map((logits) => softmax(logits.subarray(t * V, (t + 1) * V))) as [
      Float64Array,
      Float64Array,
    ];
    for (let id = 0; id < V; id++) largest = Math.max(largest, Math.abs(p[id]! - q[id]!));
  }
  return Number.isNaN(largest) ? Infinity : largest;
}

function weights(params: HostTensors, names: readonly string[], floats: "float32" | "float16"): string {
  const parts = names.map((name) => {
    const values = params[name]!.values as Float32Array;
    const stored = floats === "float16" ? toHalf("float16", values) : values;
    return Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  });
  return Buffer.concat(parts).toString("base64");
}

let bundled: string | undefined;

/** What runs in the page: bin/bundle.mjs makes it when the package is built. */
function script(): string {
  bundled ??= escapeScript(
    readFileSync(path.join(packageRoot(), "dist", "lib", "inspect", "live", "bundle.js"), "utf8"),
  );
  return bundled;
}

function pageHtml(description: PageDescription, base64: string): string {
  const code = script();
  const hash = createHash("sha256").update(code).digest("base64");
  const policy = `default-src 'none'; script-src 'sha256-${hash}' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'`;
  const ranks =
    description.tokenizer.kind === "gpt2"
      ? `<script type="application/json" id="gpt2-ranks">${gpt2Ranks()}</script>\n`
      : "";
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<title>${escapeHtml(description.title)}</title>
<style>:root { color-scheme: light dark } @media print { :root { color-scheme: light } } body { margin: 0 }</style>
</head>
<body>
<div id="app"><noscript>This page runs a language model: it needs JavaScript.</noscript></div>
<script type="application/json" id="description">${scriptJson(description)}</script>
<script type="text/plain" id="weights">${base64}</script>
${ranks}<script>${code}</script>
</body>
</html>
`;
}

function gpt2Ranks(): string {
  const require = createRequire(import.meta.url);
  return scriptJson(
    (require("js-tiktoken/ranks/gpt2") as { default?: unknown }).default ?? require("js-tiktoken/ranks/gpt2"),
  );
}
