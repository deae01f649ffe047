/** The rows of a sweep's table: their columns, what a cell may hold, and how a run is found. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { ResultRow } from "../../../scaling/sweep/columns.js";
import { findRun } from "../../../scaling/sweep/find-run.js";
import { addResults } from "../../../scaling/sweep/results-table.js";
import type { SweepRun } from "../../../scaling/sweep/run-identity.js";
import { readResults } from "../../../scaling/sweep.js";
import { temporaryFolder } from "../../tiny-run.js";

const folder = temporaryFolder();
let tables = 0;
function newTable(text?: string): string {
  const own = path.join(folder, `table-${tables++}`);
  fs.mkdirSync(own);
  if (text !== undefined) fs.writeFileSync(path.join(own, "results.csv"), text);
  return own;
}
const csv = (own: string) => fs.readFileSync(path.join(own, "results.csv"), "utf8");

// Tables of earlier sweeps and the readers of them know these names.
const texts =
  "run name plan role n_convention flops_convention schedule dataset data_sha256 tokenizer started finished";
const textColumns = `${texts} device dtype cpu folio commit node tensorflow curve`.split(" ");
const header =
  "run,name,plan,role,budget,n,d,loss,c,n_convention,flops_convention,n_blocks,n_blocks_head,n_total,c_6nd,c_attention," +
  "c_chinchilla,c_palm,loss_se,loss_smoothed,validation_tokens,n_layer,n_head,n_embd,block_size,vocab_size,steps,tokens," +
  "epochs,batch_size,batch_tokens,learning_rate,final_lr_ratio,schedule,warmup_steps,weight_decay,beta1,beta2,grad_clip," +
  "dropout,seed,dataset,dataset_tokens,data_sha256,tokenizer,seconds,evaluation_seconds,sittings,started,finished,device," +
  "dtype,compiled,threads,cpu,folio,commit,node,tensorflow,curve";

describe("a table of results", () => {
  it("has these columns, and gives each cell back as the text or the number that it was", async () => {
    const own = newTable();
    // Text that reads like a number stays text.
    const row: ResultRow = Object.fromEntries(
      header.split(",").map((name, index) => [name, textColumns.includes(name) ? `00${index}` : index + 0.5]),
    );
    expect(await addResults(own, [row])).toBe(1);
    expect(csv(own).split("\n")[0]).toBe(header);
    expect(readResults(own)).toEqual([row]);
    expect(await addResults(own, [row, { ...row, run: "other" }])).toBe(1);
    expect(readResults(own).map(({ run }) => run)).toEqual(["000", "other"]);
  });

  it("keeps commas and quotes, and writes a line break as a space and no number as nothing", async () => {
    const own = newTable();
    await addResults(own, [{ run: "a", cpu: 'one, "two"', tokenizer: "x\r\ny", loss: 2, loss_se: Number.NaN }]);
    expect(readResults(own)[0]).toMatchObject({ cpu: 'one, "two"', tokenizer: "x y", loss: 2, loss_se: null, c: null });
  });

  it("may have columns of another version, but no text where a number belongs", () => {
    expect(readResults(newTable("run,loss,later\nabc,1.5,7\n"))).toEqual([{ run: "abc", loss: 1.5, later: 7 }]);
    const wrong = newTable("run,loss\nabc,1.5\ndef,low\n");
    expect(() => readResults(wrong)).toThrow(
      /results\.csv, row 2: loss: .*; remove the file to have the run done again\.$/,
    );
    expect(readResults(newTable())).toEqual([]);
  });
});

describe("findRun()", () => {
  const runs = [
    { id: "abcdef0123", name: "grid-1" },
    { id: "abcdef4567", name: "grid-2" },
    { id: "fedcba0000", name: "abc" },
  ] as SweepRun[];

  it("takes a name, or six characters or more that only one identity begins with", () => {
    expect(findRun(runs, "grid-2")).toBe(runs[1]);
    expect(findRun(runs, "abc")).toBe(runs[2]);
    expect(findRun(runs, "fedcba")).toBe(runs[2]);
    expect(findRun(runs, "abcdef4")).toBe(runs[1]);
    for (const [wanted, found] of [
      ["fedcb", "no run"],
      ["edcba0", "no run"],
      ["abcdef", "2 runs"],
    ] as const) {
      expect(() => findRun(runs, wanted)).toThrow(`Cannot do the run ${wanted}: the plan has ${found} with this name`);
    }
  });
});
