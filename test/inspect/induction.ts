/** What is claimed of a model with induction heads: their scores, and what its copying costs without them. */
import type { LookedAt } from "../../lib/inspect/look.js";
import { headScores, repeatedTokens } from "../../lib/inspect/measures/attention-scores.js";
import { tokenLosses } from "../../lib/inspect/measures/token-losses.js";
import type { Edit, Edits } from "../../lib/model/edits.js";

interface Head {
  readonly layer: number;
  readonly head: number;
  readonly score: number;
}

export interface Induction {
  /** The best of each kind by the mean score on the sequences. */
  readonly previousToken: Head;
  readonly induction: Head;
  /** Of the second half of repeated random tokens, in nats per token: with all heads, and without these two. */
  readonly loss: number;
  readonly ablatedLoss: number;
}

/** Measured on `count` sequences of repeated random tokens. */
export async function measureInduction(model: LookedAt, { length = 32, count = 5 } = {}): Promise<Induction> {
  const sequences = Array.from({ length: count }, (_, seed) => repeatedTokens(model, { seed, length }));
  const scores = await inTurn(sequences, (ids) => headScores(model, ids));
  const best = (kind: "previousToken" | "induction"): Head => {
    const heads = scores[0]![kind].flatMap((row, layer) =>
      row.map((_, head) => ({ layer, head, score: mean(scores.map((one) => one[kind][layer]![head]!)) })),
    );
    return heads.reduce((best, one) => (one.score > best.score ? one : best));
  };
  const [previousToken, induction] = [best("previousToken"), best("induction")];
  const changes: Record<string, Edit[]> = {};
  for (const { layer, head } of [previousToken, induction]) {
    changes[`h.${layer}.attn.head_out`] ??= [];
    changes[`h.${layer}.attn.head_out`]!.push({ to: "zero", heads: [head] });
  }
  // The first token of the second half cannot be predicted.
  const secondHalf = async (edits: Edits) =>
    mean(
      await inTurn(sequences, async (ids) => {
        const { losses } = await tokenLosses(model, ids, { edits });
        return mean(losses.slice(length + 1).map(Number));
      }),
    );
  return { previousToken, induction, loss: await secondHalf({}), ablatedLoss: await secondHalf(changes as Edits) };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

async function inTurn<A, B>(all: readonly A[], of: (one: A) => Promise<B>): Promise<B[]> {
  const found: B[] = [];
  for (const one of all) found.push(await of(one));
  return found;
}
