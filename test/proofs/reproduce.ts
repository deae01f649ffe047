/**
 * The table "hardware, command, time, loss" of nanoGPT's numbers: what was measured here, from results.json, beside what
 * nanoGPT publishes, and what could not be run. README.md shows it, and notebook 18-reproduce reads reproduce.json.
 */
import type { Figures } from "./proof.js";
import type { Results } from "./readme.js";

/** One line: a result of one processor, or what was not run. */
export interface Reproduced {
  readonly what: string;
  /** Settings files and flags of Folio's command. */
  readonly command: string;
  readonly hardware: string;
  readonly time: string;
  readonly loss: string;
  /** With its hardware and time. */
  readonly published: string;
}

/** One of nanoGPT's numbers. */
interface Target extends Pick<Reproduced, "what" | "command" | "published"> {
  /** The proofs that measure it, the first that has a result counts. */
  readonly proofs: readonly { readonly name: string; measured(figures: Figures): Pick<Reproduced, "time" | "loss"> }[];
  /** Why there is no result. */
  readonly otherwise: string;
}

const group = (figures: Figures[string] | undefined): Figures => (typeof figures === "object" ? figures : {});
const text = (value: Figures[string] | undefined): string => String(value ?? "unknown");

const cpuDemo: Target = {
  what: "The CPU demo",
  command: "folio train cpu_demo",
  published: "1.88 by 20 random batches; about 3 minutes on a MacBook",
  proofs: [
    {
      name: "cpu-demo-seeds",
      measured({ folio, nanogpt, seeds }) {
        const [ours, theirs] = [group(folio), group(nanogpt)];
        const count = text(seeds).split(",").length;
        const loss = `${text(ours.mean)} (95 %: ${text(ours.interval95)}), mean of ${count} seeds; nanoGPT's own code here: ${text(theirs.mean)} (${text(theirs.interval95)})`;
        return { time: `${text(ours.minutesOfSteps)} minutes of steps`, loss };
      },
    },
    {
      name: "cpu-demo",
      measured({ compiled }) {
        const { loss, minutes } = group(compiled);
        return { time: `${text(minutes)} minutes`, loss: `${text(loss)}, one seed; nanoGPT's own checkpoint: 1.898` };
      },
    },
  ],
  otherwise: "not measured",
};

const charWhole: Target = {
  what: "Shakespeare by characters",
  command: "folio train train_shakespeare_char",
  published: "1.4697, the best; about 3 minutes on an A100",
  proofs: [
    {
      name: "char-whole",
      measured: ({ bestLoss, bestStep, hours, kills, steps, dtype }) => ({
        time: `${text(hours)} hours for ${text(steps)} steps, ${text(dtype)}`,
        loss: `${text(bestLoss)}, the best, at step ${text(bestStep)}; killed and resumed ${text(kills)} times`,
      }),
    },
  ],
  otherwise: "not run to its best loss yet",
};

const appleDemo: Target = {
  what: "The demo for Apple's GPU",
  command: "folio train apple_demo",
  published: "none; others report about 1.60",
  proofs: [
    {
      name: "apple-demo",
      measured: ({ loss, hours, dtype }) => ({
        time: `${text(hours)} hours, on the processor, ${text(dtype)}`,
        loss: text(loss),
      }),
    },
  ],
  otherwise: "not run; `folio check mac` runs it on a Mac",
};

const gpt2FromScratch: Target = {
  what: "GPT-2 124M from scratch",
  command: "folio train train_gpt2 --devices=8",
  published: "about 2.85; about 4 days on 8 A100",
  proofs: [],
  otherwise: "not run: there was no GPU",
};

const baseline = (name: string, published: number): Target => ({
  what: `${name}, as it is published`,
  command: `folio train eval_${name.replace("-", "_")}`,
  published: `${published} (validation)`,
  proofs: [],
  otherwise: `not run: there was no network; \`folio check gpt2 --sizes=${name}\` does`,
});

const targets: readonly Target[] = [
  cpuDemo,
  charWhole,
  appleDemo,
  gpt2FromScratch,
  baseline("gpt2", 3.12),
  baseline("gpt2-medium", 2.84),
  baseline("gpt2-large", 2.67),
  baseline("gpt2-xl", 2.54),
];

/** The commands of the table. */
export const reproduceCommands: readonly string[] = targets.map(({ command }) => command);

/** The lines: one per processor that has a result, or one that says why there is none. */
export function reproduced(results: Results): Reproduced[] {
  return targets.flatMap(({ what, command, published, proofs, otherwise }): Reproduced[] => {
    const processors = [...new Set(proofs.flatMap(({ name }) => Object.keys(results[name] ?? {})))];
    if (processors.length === 0) return [{ what, command, hardware: "–", time: "–", loss: otherwise, published }];
    return processors.map((processor) => {
      const proof = proofs.find(({ name }) => results[name]?.[processor])!;
      const { figures, machine, date, holds } = results[proof.name]![processor]!;
      const { time, loss } = proof.measured(figures);
      const hardware = `${processor}, ${text(machine.cores)} cores, ${date.slice(0, 10)}`;
      return { what, command, hardware, time, loss: holds ? loss : `${loss} (misses what was asked)`, published };
    });
  });
}

/** The lines as a table in Markdown. */
export function reproducedTable(results: Results): string {
  const lines = reproduced(results).map(({ what, command, hardware, time, loss, published }) =>
    [what, `\`${command}\``, hardware, time, loss, published].join(" | "),
  );
  const head = ["What", "Command", "Hardware, date", "Time", "Loss, whole validation split", "nanoGPT publishes"];
  return [head.join(" | "), head.map(() => "---").join(" | "), ...lines].map((line) => `| ${line} |`).join("\n");
}
