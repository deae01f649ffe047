/** Views of what lib/inspect/measures/ computes: logit lens, losses of tokens, attribution, patching, two prompts. */
import type { Patchable, Patching } from "../measures/activation-patching.js";
import type { LogitAttribution } from "../measures/logit-attribution.js";
import type { LogitLens } from "../measures/logit-lens.js";
import type { Candidate, Prediction } from "../measures/predictions.js";
import type { TokenLosses } from "../measures/token-losses.js";
import { percent, shownToken } from "../page/parts/numbers.js";
import { pack } from "./pack.js";
import { makeView, type View } from "./view.js";

interface Titled {
  readonly title?: string;
}

const likely = (top: readonly Candidate[]) =>
  top.map(({ token, probability }) => `${shownToken(token)} ${percent(probability)}`).join(", ");

const details = ({ top, next }: Prediction) =>
  `${likely(top)}${next ? `; the next token is ${shownToken(next.token)}, rank ${next.rank}, ${percent(next.probability)}` : ""}`;

/**
 * What the model would predict after each state of the residual stream: in each cell the likeliest next token, in colour its
 * probability; a row per state, the model's output on top.
 * @example logitLensView(await logitLens(model, "ROMEO: my love")).show();
 */
export function logitLensView({ tokens, states, predictions }: LogitLens, { title = "Logit lens" }: Titled = {}): View {
  const rows = [...states.keys()].reverse();
  const cells = rows.flatMap((row) => predictions[row]!);
  return makeView("map", {
    ...{ title, rowTitle: "state", columnTitle: "position", unit: "probability of the likeliest token" },
    ...{ rows: rows.map((row) => states[row]!), columns: tokens.map(shownToken), signed: false, shares: true },
    values: pack(
      cells.map(({ top }) => top[0]!.probability),
      [rows.length, tokens.length],
    ),
    words: cells.map(({ top }) => shownToken(top[0]!.token)),
    details: cells.map(details),
  });
}

/**
 * A text coloured by the loss of each token, with what the model expected in its place.
 * @example tokenLossView(await tokenLosses(model, "ROMEO: my love")).show();
 */
export function tokenLossView({ tokens, losses, expected, mean }: TokenLosses, { title }: Titled = {}): View {
  return makeView("tokenText", {
    title: title ?? `Loss of each token, ${mean.toFixed(2)} nats on average`,
    ...{ unit: "nats", tokens, values: losses },
    details: expected.map((prediction) =>
      prediction ? `Expected: ${details(prediction)}.` : "Nothing predicts the first token.",
    ),
  });
}

/**
 * Bars of what each component adds to a logit, or to the difference of two, and their sum.
 * @example attributionView(await logitAttribution(model, "ROMEO: my lov", { token: "e" })).show();
 */
export function attributionView(found: LogitAttribution, { title }: Titled = {}): View {
  const { token, minus, contributions, sum, position } = found;
  const what =
    minus === undefined
      ? `the logit of ${shownToken(token)}`
      : `logit ${shownToken(token)} − logit ${shownToken(minus)}`;
  return makeView("bars", {
    title: title ?? `What adds up to ${what} at position ${position}`,
    axis: "logit",
    rows: contributions.map(({ component, value }) => ({ label: component, value })),
    sum: { label: "sum", value: sum },
  });
}

/**
 * The effect of putting one value of the clean run into the corrupted one: 1 restores the metric, 0 changes nothing.
 * @param name which of the patched values
 * @example patchingView(await activationPatching(model, clean, corrupted, { metric: { token: "e" } }), "resid_out").show();
 */
export function patchingView<N extends Patchable>(
  { tokens, maps }: Patching<N>,
  name: N,
  { title }: Titled = {},
): View {
  const rows = maps[name];
  const corrupted = tokens.corrupted.map(shownToken);
  const columns = tokens.clean
    .map(shownToken)
    .map((clean, i) => (clean === corrupted[i] ? clean : `${clean}/${corrupted[i]}`));
  return makeView("map", {
    title: title ?? `Patching ${name}: share of the metric that is restored`,
    ...{ rowTitle: "patched", columnTitle: "position", unit: "restored", signed: true, shares: false },
    ...{ rows: rows.map(({ label }) => label), columns },
    values: pack(
      rows.flatMap(({ effects }) => effects),
      [rows.length, columns.length],
    ),
  });
}

/**
 * Two or more prompts side by side: how likely each token was, and what comes next.
 * @example promptsView([await tokenLosses(model, "the cat"), await tokenLosses(model, "the dog")]).show();
 */
export function promptsView(prompts: readonly TokenLosses[], { title = "Prompts side by side" }: Titled = {}): View {
  return makeView("prompts", {
    title,
    prompts: prompts.map(({ tokens, losses, after }) => ({
      tokens,
      probabilities: losses.map((loss) => (loss === null ? null : Math.exp(-loss))),
      next: after.top,
    })),
  });
}
