/**
 * The cross-entropy of n-gram models, a baseline that a trained model should beat on the same split. Only the training
 * ids are counted. The counts are smoothed by interpolated modified Kneser–Ney, the strongest of the classical methods
 * (Chen and Goodman 1998).
 */

/** n-grams as a tree: node 0 is the empty one, and the child of node h by id w is h followed by w. */
interface Tree {
  /** The node of h followed by w, or −1 if it does not occur in training. */
  find(h: number, w: number): number;
  /** By node: how often it occurs. */
  occurrences: number[];
  /** By node: how many different ids precede it. */
  predecessors: number[];
  /** By node: the node without its last id. */
  parent: number[];
  /** By node: its length in ids. */
  length: number[];
}

function countNgrams(ids: ArrayLike<number>, order: number, vocabSize: number): Tree {
  // An open-addressing table from h × vocabSize + w to the node.
  let capacity = 1 << 16;
  let keys = new Float64Array(capacity).fill(-1);
  let nodes = new Int32Array(capacity);
  const slotOf = (key: number): number => {
    let hash = Math.imul((key % 2 ** 32) | 0, 0x9e3779b1) ^ Math.imul((key / 2 ** 32) | 0, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    let slot = (hash ^ (hash >>> 13)) & (capacity - 1);
    while (keys[slot]! >= 0 && keys[slot] !== key) slot = (slot + 1) & (capacity - 1);
    return slot;
  };
  const grow = (): void => {
    const [oldKeys, oldNodes] = [keys, nodes];
    capacity *= 2;
    keys = new Float64Array(capacity).fill(-1);
    nodes = new Int32Array(capacity);
    oldKeys.forEach((key, index) => {
      if (key < 0) return;
      const slot = slotOf(key);
      keys[slot] = key;
      nodes[slot] = oldNodes[index]!;
    });
  };

  const tree: Tree = {
    find(h, w) {
      const slot = slotOf(h * vocabSize + w);
      return keys[slot]! < 0 ? -1 : nodes[slot]!;
    },
    occurrences: [0],
    predecessors: [0],
    parent: [-1],
    length: [0],
  };
  const { occurrences, predecessors, parent, length } = tree;
  let before = new Int32Array(order + 1); // before[k]: the node of the k ids before this one
  let here = new Int32Array(order + 1); // here[k]: of the k ids that end with this one
  for (let at = 0; at < ids.length; at++) {
    for (let k = 1; k <= Math.min(order, at + 1); k++) {
      const h = before[k - 1]!;
      const key = h * vocabSize + ids[at]!;
      let slot = slotOf(key);
      if (keys[slot]! < 0) {
        if (2 * parent.length > capacity) {
          grow();
          slot = slotOf(key);
        }
        keys[slot] = key;
        nodes[slot] = parent.length;
        occurrences.push(0);
        predecessors.push(0);
        parent.push(h);
        length.push(k);
        if (k > 1) predecessors[here[k - 1]!]!++;
      }
      here[k] = nodes[slot]!;
      occurrences[nodes[slot]!]!++;
    }
    [before, here] = [here, before];
  }
  return tree;
}

/** P_k(w | h) given P_(k−1)(w | h'): see `ngramLosses`. `g` is the node of h followed by w, or −1. */
type Smoothing = (k: number, h: number, g: number, lower: number) => number;

/**
 * Modified Kneser–Ney over one kind of count: occurrences for the longest n-grams, predecessors for the shorter ones.
 */
function smoothing(tree: Tree, counts: readonly number[], order: number): Smoothing {
  const { parent, length } = tree;
  const total = new Float64Array(parent.length); // Σ_w c(h w)
  const withCount = [1, 2, 3].map(() => new Float64Array(parent.length)); // N_1, N_2, N_3+ of h
  const countsOfCounts = Array.from({ length: order + 1 }, () => [0, 0, 0, 0, 0]); // by length: n_1 … n_4
  for (let node = 1; node < parent.length; node++) {
    const count = counts[node]!;
    if (count === 0) continue; // only at the very start of the text, where no id precedes it
    total[parent[node]!]! += count;
    withCount[Math.min(count, 3) - 1]![parent[node]!]!++;
    if (count <= 4) countsOfCounts[length[node]!]![count]!++;
  }
  const discounts = countsOfCounts.map(discountsOf);
  return (k, h, g, lower) => {
    if (h < 0 || total[h] === 0) return lower; // the context does not occur in training
    const D = discounts[k]!;
    const count = g < 0 ? 0 : counts[g]!;
    const freed = D[1]! * withCount[0]![h]! + D[2]! * withCount[1]![h]! + D[3]! * withCount[2]![h]!;
    return (count - D[Math.min(count, 3)]! + freed * lower) / total[h]!;
  };
}

/** [0, D_1, D_2, D_3+] from the counts of counts; with too few of them, KenLM's fallback of ½, 1, 1½. */
function discountsOf(n: readonly number[]): number[] {
  const [, n1, n2, n3, n4] = n as [number, number, number, number, number];
  if (n1 === 0 || n2 === 0 || n3 === 0 || n4 === 0) return [0, 0.5, 1, 1.5];
  const Y = n1 / (n1 + 2 * n2);
  const raw = [1 - (2 * Y * n2) / n1, 2 - (3 * Y * n3) / n2, 3 - (4 * Y * n4) / n3];
  return [0, ...raw.map((discount, index) => Math.min(Math.max(discount, 0), index + 1))];
}

/**
 * The cross-entropy of 1-gram, 2-gram, …, `order`-gram models of `train` on `val`, in nats per id.
 *
 * Interpolated modified Kneser–Ney (Chen and Goodman 1998, section 3; Kneser and Ney 1995), down to the uniform
 * distribution: with h the n − 1 ids before w, h' those without the first, and P_0 = 1 / vocabSize,
 *
 *     P_n(w | h) = (c(h w) − D(c(h w)) + (D_1 N_1(h) + D_2 N_2(h) + D_3+ N_3+(h)) · P_(n−1)(w | h')) / Σ_w c(h w)
 *
 * and P_n(w | h) = P_(n−1)(w | h') where h does not occur in training. c counts occurrences for the longest n-grams and
 * different preceding ids for the shorter ones. N_i(h) is the number of ids that follow h exactly i times (3+: three or
 * more). The discounts are estimated from the training counts separately for each length: Y = n_1 / (n_1 + 2 n_2), D_i
 * = i − (i + 1) Y n_(i+1) / n_i, where n_i n-grams have the count i, clamped to [0, i]; ½, 1, 1½ (as in KenLM) if one
 * of n_1 … n_4 is zero. Nothing is tuned on `val`.
 *
 * The targets are those of `wholeSplit`: every id of `val` but the first; the context never reaches beyond its start.
 * @param options.order the longest n, 1 to 5; default 3
 * @param options.vocabSize all ids are below it
 * @returns [order]: the losses for n = 1, 2, …, order
 * @throws {RangeError} if a split is too short, an id is beyond the vocabulary, or the order is not 1 to 5
 * @example
 * const { train, val, meta } = openDataset("data", "shakespeare_char");
 * ngramLosses(train.read(0, train.length), val.read(0, val.length), { vocabSize: meta.vocabSize }); // [3.35, 2.48,
 * 2.04]
 */
export function ngramLosses(
  train: ArrayLike<number>,
  val: ArrayLike<number>,
  options: { vocabSize: number; order?: number },
): number[] {
  const { vocabSize, order = 3 } = options;
  if (!Number.isInteger(order) || order < 1 || order > 5) {
    throw new RangeError(`Cannot count n-grams: the order is ${order}; it must be an integer from 1 to 5.`);
  }
  checkIds("training", train, 1, vocabSize);
  checkIds("validation", val, 2, vocabSize);

  const tree = countNgrams(train, order, vocabSize);
  const longest = smoothing(tree, tree.occurrences, order);
  const shorter = smoothing(tree, tree.predecessors, order);
  const sums = new Array<number>(order).fill(0);
  let before = new Int32Array(order + 1).fill(-1);
  let here = new Int32Array(order + 1).fill(-1);
  before[0] = 0;
  here[0] = 0;
  for (let at = 0; at < val.length; at++) {
    let lower = 1 / vocabSize; // P_(k−1) by predecessors
    let probability = lower;
    for (let k = 1; k <= order; k++) {
      if (k <= at + 1) {
        const h = before[k - 1]!;
        const g = h < 0 ? -1 : tree.find(h, val[at]!);
        here[k] = g;
        probability = longest(k, h, g, lower);
        lower = shorter(k, h, g, lower);
      }
      if (at > 0) sums[k - 1]! -= Math.log(probability);
    }
    [before, here] = [here, before];
  }
  return sums.map((sum) => sum / (val.length - 1));
}

function checkIds(split: string, ids: ArrayLike<number>, atLeast: number, vocabSize: number): void {
  if (ids.length < atLeast) {
    throw new RangeError(`Cannot count n-grams: the ${split} split has ${ids.length} ids; wanted at least ${atLeast}.`);
  }
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new RangeError(
        `Cannot count n-grams: id ${id} at position ${index} of the ${split} split is not below the vocabulary size ${vocabSize}.`,
      );
    }
  }
}
