import { chinchillaFlops, chinchillaParameters } from "../../lib/model/sizing.js";
import { effectiveTokens, kaplan, laws, pfDay, repeatedLoss, surfaceLoss } from "../../scaling/laws.js";
import { optimumOfBudget, optimumOfLoss, tokensForParameters } from "../../scaling/optimum.js";
import { applyRule } from "../../scaling/planning/learning-rates.js";
import { chinchillaOptima, exponentsOf, nanochatSweep, tokensLine } from "../../scaling/published.js";
import { approach2Bias } from "../../scaling/questions/budget-width.js";
import { criticalBatchTokens, stepLaw } from "../../scaling/rules.js";
import { folio, type Proof } from "./proof.js";

/** A number, how it is printed where it was published, and what we have. */
type Row = readonly [source: string, published: string, ours: string];

const { hoffmann, epoch, muennighoff } = laws;
const unrounded = laws["hoffmann-unrounded"].surface;
const perParameter = ({ n, d }: { n: number; d: number }) => (d / n).toFixed(1);

// Hoffmann 2022, table A4.
const tableA4: readonly [layers: number, width: number, heads: number, flops: string, ratio: string][] = [
  [10, 640, 10, "929877196800", "1.025036"],
  [20, 1024, 16, "4135248199680", "1.100817"],
  [24, 1280, 10, "7353453772800", "1.082919"],
  [26, 1792, 14, "14670316437504", "1.044094"],
  [28, 2048, 16, "20220437594112", "1.032902"],
  [40, 3584, 28, "83021046743040", "0.994114"],
];

function chinchilla(): Row[] {
  const best = optimumOfBudget(hoffmann.surface, 2.21e19);
  const grid = Array.from({ length: 64 }, (_, k) => 10 ** (7 + k / 16));
  const losses = grid.map((n) => surfaceLoss(hoffmann.surface, n, 2.21e19 / (6 * n)));
  const onGrid = grid[losses.indexOf(Math.min(...losses))]!;
  const line = tokensLine();
  const rounded = { ...unrounded, alpha: 0.34, beta: 0.28 };
  return [
    ...tableA4.flatMap(([layers, width, heads, flops, ratio]): Row[] => {
      const counted = chinchillaFlops({ layers, width, heads });
      const N = chinchillaParameters({ layers, width, heads });
      return [
        [`table A4, ${layers}/${width}`, flops, String(counted)],
        [`table A4, ${layers}/${width}, ratio`, ratio, (counted / (6 * N * 2048)).toFixed(6)],
      ];
    }),
    ["closed form at 2.21e19, N", "326.1M", `${(best.n / 1e6).toFixed(1)}M`],
    ["closed form at 2.21e19, D", "11.29B", `${(best.d / 1e9).toFixed(2)}B`],
    ["nanoGPT's grid, N", "316.23M", `${(onGrid / 1e6).toFixed(2)}M`],
    ["nanoGPT's grid, D", "11.65B", `${(2.21e19 / (6 * onGrid) / 1e9).toFixed(2)}B`],
    ["tokens a parameter at 5.76e23, unrounded", "58.9", perParameter(optimumOfBudget(unrounded, 5.76e23))],
    ["tokens a parameter at 5.76e23, rounded exponents", "92.7", perParameter(optimumOfBudget(rounded, 5.76e23))],
    ["approach 2, slope", "1.0409573", line.slope.toFixed(7)],
    ["approach 2, intercept", "0.9353887", line.intercept.toFixed(7)],
    ["approach 2, tokens of 124M", "2.292426e+9", line.tokensFor(124e6).toExponential(6)],
    ["exponent of approach 1's optima", "0.50", exponentsOf(chinchillaOptima.approach1).a.toFixed(2)],
    ["exponent of approach 2's optima", "0.49", exponentsOf(chinchillaOptima.approach2).a.toFixed(2)],
    ["exponent of approach 3's optima", "0.46", exponentsOf(chinchillaOptima.approach3).a.toFixed(2)],
  ];
}

function biases(): Row[] {
  const budgetsFlops = [1e17, 1e18, 1e19, 1e20, 1e21];
  const percent = (width: number) =>
    (100 * approach2Bias(hoffmann.surface, { budgetsFlops, width }, 1e24).d).toFixed(3);
  const published = { 2: "-0.327", 4: "-1.301", 8: "-2.903", 16: "-5.100" };
  return Object.entries(published).map(([width, bias]) => [`bias of D*, ±${width}×, %`, bias, percent(Number(width))]);
}

function others(): Row[] {
  const { "blocks-head": matrices, total, blocks } = nanochatSweep;
  // Sardana 2024, figure 1: their constants.
  const sardana = { E: 1.69, A: 406.4, B: 410.7, alpha: 0.336, beta: 0.283 };
  const large = { n: 13e9, d: tokensForParameters(sardana, 13e9) };
  const loss = surfaceLoss(sardana, large.n, large.d);
  const small = optimumOfLoss(sardana, loss, { inferenceTokens: 2e12 });
  const cost = ({ n, d }: { n: number; d: number }) => 6 * n * d + 2 * n * 2e12;
  const allocation = optimumOfBudget(muennighoff.surface, 6 * 8.67e9 * 178e9, { uniqueTokens: 25e9 });
  return [
    ["Kaplan, L(N) at 8.8e13", "1", String(kaplan.ofParameters(8.8e13))],
    ["Kaplan, L(D) at 5.4e13", "1", String(kaplan.ofTokens(5.4e13))],
    ["Kaplan, L(C) at 1.6e7 PF-days", "1", String(kaplan.ofCompute(1.6e7 * pfDay))],
    ["Kaplan, L(Cmin) at 3.1e8 PF-days", "1", String(kaplan.ofLeastCompute(3.1e8 * pfDay))],
    ["4 epochs are worth", "3.7257", effectiveTokens(4, 1).toFixed(4)],
    ["16 epochs are worth", "10.582", effectiveTokens(16, 1).toFixed(3)],
    [
      "Muennighoff's example, loss",
      "2.225644088998",
      repeatedLoss(muennighoff.surface, { N: 6.34e9, D: 242e9, U: 25e9 }).toFixed(12),
    ],
    ["Muennighoff's example, tokens", "227B", `${(allocation.d / 1e9).toFixed(0)}B`],
    ["Sardana's example, FLOPs saved", "1.7e22", `${((cost(large) - cost(small)) / 1e22).toFixed(1)}e22`],
    ["Sardana's example, N", "7B", `${(small.n / 1e9).toFixed(0)}B`],
    ["critical batch at a loss of 1", "2e8", `${criticalBatchTokens(1) / 1e8}e8`],
    ["Step Law, rate of 1B and 100B", "1.632e-3", applied(stepLaw.learningRate)],
    ["nanochat, N ∝ C^", "0.536", exponentsOf(matrices).a.toFixed(3)],
    ["nanochat, D ∝ C^", "0.489", exponentsOf(matrices).b.toFixed(3)],
    ["nanochat, all parameters", "0.37", exponentsOf(total).a.toFixed(2)],
    ["nanochat, blocks only", "0.70", exponentsOf(blocks).a.toFixed(2)],
  ];
}

function applied(rule: Parameters<typeof applyRule>[0]): string {
  return applyRule(rule, { parameters: 1e9, tokens: 100e9 }).toExponential(3);
}

/** What the command says, which is what the functions say. */
async function commands(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [law, { surface }] of Object.entries({ hoffmann, "hoffmann-unrounded": { surface: unrounded }, epoch })) {
    const { output } = await folio("scaling", "optimum", "--budget=5.76e23", `--law=${law}`, "--json");
    const { n, d, loss } = JSON.parse(output) as { n: number; d: number; loss: number };
    const best = optimumOfBudget(surface, 5.76e23);
    rows.push([`folio scaling optimum, ${law}`, [best.n, best.d, best.loss].join(" "), [n, d, loss].join(" ")]);
  }
  return rows;
}

export const scalingNumbers: Proof = {
  name: "scaling-numbers",
  claim:
    "scaling laws, their optima, counting conventions, rules and the four biases of approach 2 are the published numbers to the digits given",
  inputs: ["scaling", "lib/model/sizing.ts", "lib/cli/scaling"],
  async run({ say }) {
    const rows = [...chinchilla(), ...biases(), ...others(), ...(await commands())];
    const wrong = rows.filter(([, published, ours]) => published !== ours);
    for (const [source, published, ours] of wrong) say(`${source}: ${ours}, published ${published}`);
    const bias = Object.fromEntries(biases().map(([source, , ours]) => [source, ours]));
    return { holds: wrong.length === 0, figures: { numbers: rows.length, wrong: wrong.length, ...bias } };
  },
};
