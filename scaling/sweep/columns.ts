/**
 * The columns of a sweep's result table, which has one row per finished run: its loss, its size by every convention,
 * its settings, and the machine. results-table.ts writes the table; `folio scaling fit` reads n, d, loss, c or other
 * columns.
 */
import type { Settings } from "../../lib/settings/settings.js";
import {
  type Conventions,
  countFlops,
  countParameters,
  type FlopsConvention,
  type ParameterConvention,
} from "../conventions.js";

/** A cell: text, a number, or empty. */
export type Value = string | number | null;

/** A finished run, by column. */
export type ResultRow = Readonly<Record<string, Value>>;

/** The columns, in the order of the file. */
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

/** The columns of text; the others are numbers. */
export const textColumns: ReadonlySet<string> = new Set([
  ...["run", "name", "plan", "role", "n_convention", "flops_convention", "schedule", "dataset", "data_sha256"],
  ...["tokenizer", "started", "finished", "device", "dtype", "cpu", "folio", "commit", "node", "tensorflow", "curve"],
]);

/** The conventions of the columns n and c. */
export const ownConventions: Conventions = { parameters: "blocks-head", flops: "palm" };

/** Parameters, and FLOPs of training on `tokens`, by each convention. */
export function sizeColumns(settings: Settings, tokens: number) {
  const parameters = (convention: ParameterConvention) => countParameters(settings, convention);
  const flops = (convention: FlopsConvention) => countFlops(settings, tokens, { ...ownConventions, flops: convention });
  return {
    n: parameters(ownConventions.parameters),
    c: flops(ownConventions.flops),
    n_convention: ownConventions.parameters,
    flops_convention: ownConventions.flops,
    n_blocks: parameters("blocks"),
    n_blocks_head: parameters("blocks-head"),
    n_total: parameters("total"),
    c_6nd: flops("6ND"),
    c_attention: flops("attention"),
    c_chinchilla: flops("chinchilla"),
    c_palm: flops("palm"),
  };
}
