/**
 * Numbers in a notebook's prose are bound to its cells: each decimal number, percentage and number of two digits or more is
 * found in the source of a code cell of its section (what stands between two headings) or in what a reader sees of its
 * output, as it is or rounded. Exempt: code, formulas, years, a paragraph that names the source of its numbers by a link or
 * (Author year), and a cell with the tag `quoted`, whose text says where its numbers are from.
 */
import { codeCells, type Notebook, type Output, textOf } from "./notebook.js";

const SOURCE = /\]\(https?:|\(?[A-Z][\p{L}]+(?: et al\.| and [A-Z]\p{L}+)?,? (?:19|20)\d\d\b/u;
const NUMBER = String.raw`(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?(?![\w^_/])`;
const QUOTED = new RegExp(String.raw`(?<![\w.^_/-])${NUMBER}`, "gi");
/** Also behind a minus. */
const SHOWN = new RegExp(String.raw`(?<![\w.^_/])${NUMBER}`, "gi");
const PERCENT = /^ ?(?:%|per ?cent\b)/;
const WORDS = "one two three four five six seven eight nine ten eleven twelve".split(" ");
const IN_WORDS = new RegExp(String.raw`\b(${WORDS.join("|")})(?= per ?cent\b)`, "gi");

/** Numbers of the prose that no cell of their section shows. */
export function unboundNumbers(notebook: Notebook): string[] {
  return sectionsOf(notebook).flatMap(({ prose, shown }) => {
    const numbers = numbersIn(shown, SHOWN);
    return prose
      .filter((paragraph) => !SOURCE.test(paragraph))
      .map(plainOf)
      .flatMap((plain) =>
        quotedIn(plain)
          .filter((quoted) => !numbers.some((value) => rounds(value, quoted)))
          .map(
            ({ number, index }) =>
              `the prose says ${number}, which no cell of its section shows: "${around(plain, index)}"`,
          ),
      );
  });
}

interface Section {
  readonly prose: string[];
  /** Source and output of its cells. */
  shown: string;
}

function sectionsOf(notebook: Notebook): Section[] {
  const code = new Set(codeCells(notebook));
  const sections: Section[] = [{ prose: [], shown: "" }];
  for (const cell of notebook.cells) {
    const text = textOf(cell.source);
    if (code.has(cell)) {
      sections.at(-1)!.shown += `\n${text}\n${(cell.outputs ?? []).map(readIn).join("\n")}`;
      continue;
    }
    const isQuoted = Array.isArray(cell.metadata.tags) && cell.metadata.tags.includes("quoted");
    for (const paragraph of text.split(/\n\s*\n/)) {
      if (/^#{1,3} /m.test(paragraph)) sections.push({ prose: [], shown: "" });
      if (!isQuoted) sections.at(-1)!.prose.push(paragraph);
    }
  }
  return sections;
}

/** What a reader sees of an output: its text, cells of tables, and the words of a picture, but not a figure's coordinates. */
function readIn({ text, data = {} }: Output): string {
  const html = textOf((data["text/html"] ?? "") as string | string[]);
  const pictures = [...html.matchAll(/data:image\/svg\+xml;base64,([\w+/=]+)/g)].map(([, code]) =>
    wordsOf(decoded(code!)),
  );
  return [textOf(text), textOf((data["text/plain"] ?? "") as string | string[]), wordsOf(html), ...pictures].join("\n");
}

const decoded = (code: string) => Buffer.from(code, "base64").toString();
const wordsOf = (markup: string) => markup.replace(/<script[\s\S]*?<\/script>|<style[\s\S]*?<\/style>|<[^>]*>/g, " ");

interface Found {
  readonly number: string;
  readonly percent: boolean;
  readonly index: number;
}

const numbersIn = (text: string, pattern: RegExp): Found[] =>
  [...text.matchAll(pattern)].map(({ 0: number, index }) => {
    return { number, index, percent: PERCENT.test(text.slice(index + number.length, index + number.length + 10)) };
  });

/** Without code, formulas and addresses; percentages in digits. */
function plainOf(paragraph: string): string {
  return paragraph
    .replace(/```[\s\S]*?```|`[^`]*`|\$\$[\s\S]*?\$\$|\$[^$]*\$/g, " ")
    .replace(/\]\([^)]*\)/g, "] ")
    .replace(IN_WORDS, (word) => String(WORDS.indexOf(word.toLowerCase()) + 1));
}

/** Without years and single digits. */
const quotedIn = (plain: string): Found[] =>
  numbersIn(plain, QUOTED).filter(
    ({ number, percent }) => !/^(19|20)\d\d$/.test(number) && (percent || /[.e]|\d\d/.test(number)),
  );

/** Whether the value shown is the quoted one, to the digits that are quoted; per cent are shown as such, or as a share. */
function rounds(shown: Found, { number, percent }: Found): boolean {
  const { decimals, exponent } = digitsOf(number);
  const unit = 10 ** (exponent - decimals);
  const isShare = percent && !shown.percent;
  // A column of many digits is no share: one of its numbers would round to any percentage.
  if (isShare && digitsOf(shown.number).decimals > decimals + 4) return false;
  const value = (isShare ? 100 : 1) * numberOf(shown.number);
  return Math.abs(value - numberOf(number)) <= unit / 2 + 1e-9 * Math.abs(value);
}

function digitsOf(number: string): { decimals: number; exponent: number } {
  const [, decimals = "", exponent = "0"] = /^[\d,]*(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(number)!;
  return { decimals: decimals.length, exponent: Number(exponent) };
}

const numberOf = (number: string) => Number(number.replaceAll(",", ""));

function around(text: string, index: number): string {
  return text
    .slice(Math.max(0, index - 40), index + 35)
    .replace(/\s+/g, " ")
    .trim();
}
