/**
 * The columns of a sweep's result table, a row a finished run: its loss, how large it was by every convention, how it was
 * trained and by what. results.ts writes them; `folio scaling fit` reads n, d, loss, c or any other of them.
 */
import type { Settings } from "../../lib/config.js";
import { flopsPerToken, parameterTable } from "../../lib/sizing.js";

/** A cell: text, a number, or nothing. */
export type Value = string | number | null;

/** A finished run, by column. */
export type ResultRow = Readonly<Record<string, Value>>;

/** Order of the columns in the file. */
export const columns = [
  ...["run", "name", "plan", "role", "budget"],
  ...["n", "d", "loss", "c", "n_convention", "flops_convention"],
  ...["n_blocks", "n_blocks_head", "n_total", "c_6nd", "c_attention", "c_chinchilla", "c_palm"],
  ...["loss_se", "loss_smoothed", "validation_tokens"],
  ...["n_layer", "n_head", "n_embd", "block_size", "vocab_size"],
  ...["steps", "tokens", "epochs", "batch_size", "batch_tokens", "learning_rate", "final_lr_ratio", "schedule"],
  ...["warmup_steps", "weight_decay", "beta1", "beta2", "grad_clip", "dropout", "seed"],
  ...["dataset", "dataset_tokens", "data_sha256", "tokenizer"],
  ...["seconds", "evaluation_seconds", "sittings", "started", "finished"],
  ...["device", "dtype", "compiled", "threads", "cpu", "folio", "commit", "node", "tensorflow"],
  "curve",
] as const;

/** Parameters by each convention, and FLOPs of training on `tokens` by each: what points of a law are made of. */
export function sizeColumns(settings: Settings, tokens: number): Record<string, number> {
  const { nLayer: L, nEmbd: C, blockSize: T, vocabSize: V } = settings;
  const parts = Object.fromEntries(parameterTable(settings).map(({ part, count }) => [part, count]));
  const blocks = parts.blocks! + parts["final norm"]!;
  const withHead = blocks + V * C; // the head, whether it is the token table or its own
  const attention = 12 * L * C * T; // 2 products of T × C, 2 FLOPs each, 3 × for the backward pass
  const squares = 6 * 12 * L * C * C; // without norms and biases
  return {
    n_blocks: blocks,
    n_blocks_head: withHead,
    n_total: parts.total!,
    c_6nd: 6 * withHead * tokens,
    c_attention: (squares + attention + 6 * V * C) * tokens,
    c_chinchilla: (squares + attention + 9 * L * settings.nHead * T) * tokens,
    c_palm: flopsPerToken(settings) * tokens,
  };
}
