/**
 * The display of `folio scaling run`: one line per finished run and, on a terminal, a table of the current runs below.
 */
import type { SweepRecord } from "../../../../scaling/sweep.js";
import { ownEscapes } from "../../shared/output.js";
import { duration, grouped, type Output, styled, table } from "../../shared/terminal.js";

export interface Display {
  show(record: SweepRecord): void;
  close(): void;
}

interface AtWork {
  readonly name: string;
  readonly steps: number;
  readonly since: number;
  readonly from: number;
  step: number;
  loss: number;
}

/** A live table on a terminal; elsewhere only lines. */
export function openDisplay(output: Output, now: () => number = () => performance.now()): Display {
  const running = new Map<string, AtWork>();
  const begun = new Set<string>();
  let [done, todo, drawn, drawnAt] = [0, 0, 0, Number.NEGATIVE_INFINITY];

  const erase = () => {
    if (drawn > 0) output.write(ownEscapes(`\x1b[${drawn}A\x1b[0J`));
    drawn = 0;
  };
  const draw = () => {
    if (!output.isTTY || now() - drawnAt < 100) return;
    drawnAt = now();
    erase();
    const lines = [`${done} of ${todo} runs done`, ...workTable([...running.values()], now())];
    output.write(`${lines.map((line) => line.slice(0, (output.columns ?? 120) - 1)).join("\n")}\n`);
    drawn = lines.length;
  };
  const line = (text: string) => {
    erase();
    output.write(`${text}\n`);
    drawnAt = Number.NEGATIVE_INFINITY;
    draw();
  };

  return {
    show(record) {
      switch (record.kind) {
        case "start":
          todo = record.todo;
          line(startLine(record));
          break;
        case "run-start": {
          const { run, step } = record;
          todo = Math.max(todo, begun.add(run.id).size); // more than planned: runs taken over from another process
          running.set(run.id, { name: run.name, steps: run.steps, since: now(), from: step, step, loss: Number.NaN });
          draw();
          break;
        }
        case "progress": {
          const at = running.get(record.run.id);
          if (at) Object.assign(at, { step: record.step, loss: record.loss });
          draw();
          break;
        }
        case "run-end": {
          const took = now() - (running.get(record.run.id)?.since ?? now());
          running.delete(record.run.id);
          if (record.outcome.state === "finished") done++;
          line(endLine(record, { output, done, todo, took }));
          break;
        }
        case "end":
          erase();
      }
    },
    close: erase,
  };
}

/** "2 processes of 1 thread". */
export function processesText(workers: number, threads: number): string {
  return `${workers} process${workers === 1 ? "" : "es"} of ${threads} thread${threads === 1 ? "" : "s"}`;
}

function startLine({ counts, todo, workers, threads }: Extract<SweepRecord, { kind: "start" }>): string {
  const parts = Object.entries(counts).flatMap(([state, count]) => (count > 0 ? [`${count} ${state}`] : []));
  const how = processesText(workers, threads);
  const none = counts.running > 0 ? "nothing else to do" : "nothing to do";
  return `${parts.join(", ")}: ${todo === 0 ? none : `${todo} to do, ${how}`}`;
}

function endLine(
  { run, outcome }: Extract<SweepRecord, { kind: "run-end" }>,
  { output, done, todo, took }: { output: Output; done: number; todo: number; took: number },
): string {
  const name = `[${done}/${todo}] ${run.name}`;
  switch (outcome.state) {
    case "finished":
      return `${name}: loss ${Number(outcome.row.loss).toFixed(4)}, ${grouped(run.steps)} steps, ${duration(took)}`;
    case "failed":
      return styled(output, "red", `${name}: failed: ${outcome.message}`);
    case "busy":
      return styled(output, "yellow", `${name}: held by ${outcome.holder}`);
    case "interrupted":
      return styled(output, "yellow", `${name}: interrupted`);
  }
}

function workTable(running: readonly AtWork[], now: number): string[] {
  if (running.length === 0) return [];
  return table(
    ["running", "step", "of", "loss", "left"],
    running.map(({ name, steps, since, from, step, loss }) => {
      const rate = (now - since) / Math.max(1, step - from);
      const left = step > from ? duration(rate * (steps - step)) : "-";
      return [name, grouped(step), grouped(steps), Number.isFinite(loss) ? loss.toFixed(4) : "-", left];
    }),
  );
}
