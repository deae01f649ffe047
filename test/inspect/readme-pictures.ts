/**
 * The README's pictures of views, drawn by the library from the model that comes with it. `npx jiti
 * test/inspect/readme-pictures.ts` writes them and their alternative texts, which say what is seen.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { inflateSync } from "node:zlib";
import { look } from "../../lib/inspect/look.js";
import { headScores, repeatedTokens } from "../../lib/inspect/measures/attention-scores.js";
import { tokenLosses } from "../../lib/inspect/measures/token-losses.js";
import { attentionView } from "../../lib/inspect/views/attention.js";
import { tokenLossView } from "../../lib/inspect/views/measured.js";
import { openModel } from "../../lib/weights/open-model.js";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A name that no text has, and the same again: only a model that copies can predict it. */
const text = "readonly zyqWxv: number; readonly zyqWxv: number;";
const name = "zyqWxv";
const first = text.indexOf(name);
const again = text.lastIndexOf(name);

export interface Picture {
  /** From the root of the checkout. */
  readonly file: string;
  readonly svg: string;
  readonly alt: string;
}

export async function drawPictures(): Promise<Picture[]> {
  const model = await openModel("induction");
  const losses = await tokenLosses(model, text);
  const best = await strongestHead(model);
  const attention = await attentionView(model, text, {
    ...best,
    title: `Attention of layer ${best.layer}, head ${best.head}`,
  });
  // From the second character of the repeated name on, its earlier occurrence says what comes next.
  const known = Array.from({ length: name.length - 1 }, (_, i) => i + 1);
  const lossAt = (from: number) => known.map((i) => losses.losses[from + i] ?? 0);
  const { values } = await look(model, text, [`h.${best.layer}.attn.weights`]);
  const weights = values[`h.${best.layer}.attn.weights`]!.values;
  const T = text.length;
  const stripe = known.map((i) => weights[(best.head * T + again + i - 1) * T + first + i]!);
  return [
    {
      file: "test/inspect/pictures/token-losses.svg",
      svg: tokenLossView(losses).svg(),
      alt: `A line of code as the model reads it: the more a character surprises it, the darker. The made-up name ${name} is dark where it stands first (${mean(lossAt(first)).toFixed(1)} nats per character on average) and nearly white where it is repeated (${mean(lossAt(again)).toFixed(1)}).`,
    },
    {
      file: "test/inspect/pictures/attention.svg",
      svg: attention.svg(),
      alt: `The attention weights of eight heads as small pictures, and of one in full. In its lower half, a stripe runs parallel to the diagonal: where the name is repeated, each character attends to the character that followed its first occurrence, with a weight of ${(100 * mean(stripe)).toFixed(0)} % on average.`,
    },
  ];
}

const mean = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;

/** The head with the highest induction score. */
async function strongestHead(model: Awaited<ReturnType<typeof openModel>>): Promise<{ layer: number; head: number }> {
  const { induction } = await headScores(model, repeatedTokens(model));
  const score = Math.max(...induction.flat());
  const layer = induction.findIndex((row) => row.includes(score));
  return { layer, head: induction[layer]!.indexOf(score) };
}

/** Words and numbers of a picture, with the pixels of the pictures in it: to compare with another processor's. */
export function contentOf(svg: string): { words: string; numbers: number[] } {
  const pixels: number[] = [];
  const plain = svg.replace(/data:image\/png;base64,([^"]*)/g, (_, base64: string) => {
    pixels.push(...pixelsOf(Buffer.from(base64, "base64")));
    return "";
  });
  const number = /-?\d+(?:\.\d+)?(?:e-?\d+)?/g;
  return { words: plain.replace(number, "#"), numbers: [...(plain.match(number) ?? []).map(Number), ...pixels] };
}

/** The bytes of a PNG's data, unpacked: those of Folio's have no filter. */
function pixelsOf(png: Buffer): Buffer {
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") return inflateSync(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  throw new Error("Cannot read a picture: it has no data.");
}

/** Its line in the README. */
export const lineOf = ({ file, alt }: Picture) => `![${alt}](${file})`;

async function main(): Promise<void> {
  const readme = path.join(root, "README.md");
  let page = fs.readFileSync(readme, "utf8");
  for (const picture of await drawPictures()) {
    fs.mkdirSync(path.dirname(path.join(root, picture.file)), { recursive: true });
    fs.writeFileSync(path.join(root, picture.file), `${picture.svg}\n`);
    const line = new RegExp(`!\\[[^\\]]*\\]\\(${picture.file}\\)`);
    if (!line.test(page)) throw new Error(`Cannot update the README: it has no picture ${picture.file}.`);
    page = page.replace(line, () => lineOf(picture));
  }
  fs.writeFileSync(readme, page);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
