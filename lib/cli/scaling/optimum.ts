/**
 * `folio scaling optimum`: the optimum by a published or fitted law for a budget, a loss, a size or a number of tokens.
 * scaling/questions/answer.ts computes it.
 */
import { existsSync } from "node:fs";
import { closest, distance } from "fastest-levenshtein";
import { flopsConventions, parameterConventions } from "../../../scaling/conventions.js";
import { type LawName, laws } from "../../../scaling/laws.js";
import { type Answer, type Answered, ask, describe, type Question } from "../../../scaling/questions/answer.js";
import { fittedLaw, type KnownLaw, publishedLaw } from "../../../scaling/questions/known-law.js";
import { readFit } from "../../../scaling/questions/read-fit.js";
import { grouped, type Io, table, wrapped } from "../shared/terminal.js";
import { positive, readFlags } from "./shared/flags.js";
import { writeWarnings } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling optimum: the optimum by a scaling law.

Usage: folio scaling optimum --law LAW --budget C [--flag value …] [--json]

  --law LAW              ${Object.keys(laws).join(", ")};
                         or a file written by \`folio scaling fit … --json FILE\`
  --budget C             training FLOPs: finds the N and D with the lowest loss
  --loss L               nats per token: finds the cheapest N and D
  --parameters N         finds the D for which this N is compute-optimal
  --tokens D             finds the N for which this D is compute-optimal
  --inference_tokens T   include 2 N T FLOPs of inference in the budget, or in the cost of a loss
  --unique_tokens U      only U tokens are unique; repetitions are worth less (Muennighoff 2023)
  --json                 print JSON: n, d, c, loss, exponents, intervals, conventions, warnings

Two of budget, loss, parameters and tokens describe a training, which is shown beside the optimum for the same FLOPs.
A fit's intervals come from its bootstrap refits. FLOPs are 6 N D, or counted as in the fit's points.

  folio scaling optimum --law epoch --budget 5.76e23
  folio scaling optimum --law hoffmann-unrounded --loss 2.0 --inference_tokens 2e12
  folio scaling optimum --law muennighoff --budget 1e21 --unique_tokens 5e9
  folio scaling optimum --law fit.json --parameters 124e6 --tokens 10e9 --json`;
}

const kinds = {
  law: "string",
  budget: "string",
  loss: "string",
  parameters: "string",
  tokens: "string",
  "inference-tokens": "string",
  "unique-tokens": "string",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling optimum");
  if (flags.words.length > 0) {
    throw new RangeError(
      `Cannot find the optimum: ${flags.words.join(" ")} belongs to no flag; give a law with --law.`,
    );
  }
  const law = findLaw(flags.text.law);
  const value = (name: string) => positive(flags, name);
  const named = {
    budgetFlops: value("budget"),
    loss: value("loss"),
    parameters: value("parameters"),
    tokens: value("tokens"),
    inferenceTokens: value("inference-tokens"),
    uniqueTokens: value("unique-tokens"),
  };
  const question: Question = Object.fromEntries(Object.entries(named).filter(([, given]) => given !== undefined));
  const answer = ask(law, question);
  if (flags.yes.json) {
    const { name, source, conventions, flopsPerProduct } = law;
    const result = { law: name, source, question, ...answer, conventions: { ...conventions, flopsPerProduct } };
    io.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    return 0;
  }
  io.stdout.write(`${[...heading(law, answer), "", ...answerTable(question, answer)].join("\n")}\n`);
  writeWarnings(io, answer.warnings);
  return 0;
}

function findLaw(name: string | undefined): KnownLaw {
  const known = Object.keys(laws);
  if (name === undefined) {
    throw new RangeError(
      `Cannot find the optimum: name a law with --law: ${known.join(", ")}, or a file of \`folio scaling fit --json\`.`,
    );
  }
  if (Object.hasOwn(laws, name)) return publishedLaw(name as LawName);
  if (existsSync(name) || /[./\\]/.test(name)) return fittedLaw(readFit(name), name);
  const nearest = closest(name, known);
  const hint = distance(name, nearest) <= 3 ? `did you mean ${nearest}?` : `wanted one of ${known.join(", ")}.`;
  throw new RangeError(`Cannot find the optimum: ${name} is neither a law nor a file; ${hint}`);
}

function heading(law: KnownLaw, { exponents: { a, b } }: Answer): string[] {
  const { numbers, conventions, flopsPerProduct } = law;
  return [
    `${law.name}: ${law.source}`,
    `${formula(numbers, { a, b })}; N* ∝ C^${a.toFixed(3)}, D* ∝ C^${b.toFixed(3)}`,
    `N: ${meaning(conventions.parameters, parameterConventions)}`,
    `C: ${meaning(conventions.flops, flopsConventions)}${flopsPerProduct === 6 ? "" : `; ${flopsPerProduct.toPrecision(4)} N D here`}`,
  ];
}

function formula(numbers: KnownLaw["numbers"], { a, b }: Answer["exponents"]): string {
  const short = (value: number) => String(Number(value.toPrecision(4)));
  if ("line" in numbers) {
    return `N* = ${short(numbers.line.nScale)} C^${short(a)}, D* = ${short(numbers.line.dScale)} C^${short(b)}`;
  }
  if ("kaplan" in numbers) {
    const { Nc, Dc, alphaN, alphaD } = numbers.kaplan;
    return `L(N, D) = [(${Nc.toPrecision(3)} / N)^${short(alphaN / alphaD)} + ${Dc.toPrecision(3)} / D]^${short(alphaD)}`;
  }
  const { E, A, B, alpha, beta } = numbers.surface;
  return `L(N, D) = ${short(E)} + ${short(A)} N^-${short(alpha)} + ${short(B)} D^-${short(beta)}`;
}

function meaning(name: string | undefined, known: Readonly<Record<string, string>>): string {
  if (name === undefined) return "how it was counted is unknown";
  return known[name] === undefined ? name : `${name}, ${known[name]}`;
}

function answerTable(question: Question, answer: Answer): string[] {
  const { intervals, best } = answer;
  const rows = (["n", "d", "c", "loss"] as const).map((quantity) => {
    const range = (level: "ci80" | "ci95") => {
      const interval = intervals?.[level][quantity];
      return interval ? interval.map((end) => shown(quantity, end)).join(" … ") : "-";
    };
    const cells = [labels[quantity], shown(quantity, answer[quantity])];
    if (intervals) cells.push(range("ci80"), range("ci95"));
    if (best) cells.push(shown(quantity, best[quantity]));
    return cells;
  });
  const extra = (label: string, of: (at: Answered) => string) => {
    const cells = [label, of(answer), ...(intervals ? ["-", "-"] : [])];
    rows.push(best ? [...cells, of(best)] : cells);
  };
  extra("tokens per parameter, D / N", ({ n, d }) => (d / n).toPrecision(4));
  if (answer.totalFlops !== undefined) rows.push(["FLOPs with inference", answer.totalFlops.toExponential(3)]);
  if (answer.epochs !== undefined) rows.push(["passes over the tokens", answer.epochs.toPrecision(4)]);
  const head = [
    describe(question),
    "",
    ...(intervals ? ["80 %", "95 %"] : []),
    ...(best ? ["best for these FLOPs"] : []),
  ];
  const from = `${intervals ? "intervals: quantiles of" : "no intervals:"} ${answer.intervalsFrom}`;
  return [...table(head, rows), "", wrapped(from)];
}

const labels = { n: "parameters, N", d: "tokens, D", c: "training FLOPs, C", loss: "loss, nats per token" } as const;

/** 326100000 → 326.1M; compute in scientific notation. */
function shown(quantity: keyof Answered, value: number | null): string {
  if (value === null) return "unknown";
  if (quantity === "loss") return value.toFixed(4);
  if (quantity === "c") return value.toExponential(3);
  const [unit, letter] = value >= 1e12 ? [1e12, "T"] : value >= 1e9 ? [1e9, "B"] : value >= 1e6 ? [1e6, "M"] : [1, ""];
  return unit === 1 ? grouped(value) : `${(value / unit).toPrecision(4)}${letter}`;
}
