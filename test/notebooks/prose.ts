/**
 * Numbers in a notebook's prose are bound to its cells: each decimal number, percentage and number of three digits or more is
 * found in the source or the stored output of a code cell of its section (what stands between two headings), as it is or
 * rounded. Exempt: code, formulas, years, a paragraph that names the source of its numbers by a link or (Author year), and a
 * cell with the tag `quoted`, whose text says where its numbers are from.
 */
import { codeCells, type Notebook, textOf } from "./notebook.js";

const SOURCE = /\]\(https?:|\(?[A-Z][\p{L}]+(?: et al\.| and [A-Z]\p{L}+)?,? (?:19|20)\d\d\b/u;
const QUOTED = /(?<![\w.^_/-])\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w^_/])/gi;

/** Numbers of the prose that no cell of their section shows. */
export function unboundNumbers(notebook: Notebook): string[] {
  return sectionsOf(notebook).flatMap(({ prose, shown }) => {
    const numbers = (shown.match(QUOTED) ?? []).map(numberOf);
    return prose.flatMap((paragraph) =>
      SOURCE.test(paragraph)
        ? []
        : quotedIn(paragraph)
            .filter((number) => !numbers.some((value) => rounds(value, number)))
            .map(
              (number) =>
                `the prose says ${number}, which no cell of its section shows: "${around(paragraph, number)}"`,
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
      const outputs = (cell.outputs ?? []).map(({ text, data }) => textOf(text) + JSON.stringify(data ?? ""));
      sections.at(-1)!.shown += `\n${text}\n${outputs.join("\n")}`;
      continue;
    }
    if (/^#{1,3} /m.test(text)) sections.push({ prose: [], shown: "" });
    const isQuoted = Array.isArray(cell.metadata.tags) && cell.metadata.tags.includes("quoted");
    if (!isQuoted) sections.at(-1)!.prose.push(...text.split(/\n\s*\n/));
  }
  return sections;
}

/** Without code, formulas and years. */
function quotedIn(paragraph: string): string[] {
  const plain = paragraph
    .replace(/```[\s\S]*?```|`[^`]*`|\$\$[\s\S]*?\$\$|\$[^$]*\$/g, " ")
    .replace(/\]\([^)]*\)/g, "] ");
  return [...plain.matchAll(QUOTED)].flatMap(({ 0: number, index }) => {
    const isYear = /^(19|20)\d\d$/.test(number);
    const isPercent = /^ ?%/.test(plain.slice(index + number.length));
    return !isYear && (isPercent || /[.e]/.test(number) || /\d\d\d/.test(number)) ? [number] : [];
  });
}

/** Whether the value shown is the quoted one, to the digits that are quoted; a share may be quoted in per cent. */
function rounds(shown: number, quoted: string): boolean {
  const digits = /\.(\d+)/.exec(quoted)?.[1]?.length ?? 0;
  const unit = 10 ** -digits;
  return [shown, 100 * shown].some((value) => Math.abs(value - numberOf(quoted)) <= unit / 2 + 1e-9 * Math.abs(value));
}

const numberOf = (number: string) => Number(number.replaceAll(",", ""));

function around(paragraph: string, number: string): string {
  const at = paragraph.indexOf(number);
  return paragraph
    .slice(Math.max(0, at - 40), at + number.length + 30)
    .replace(/\s+/g, " ")
    .trim();
}
