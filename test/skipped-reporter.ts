/** A reporter of vitest's that notes which tests were left out and why, for the last lines of `npm test` (bin/test.mjs). */
import fs from "node:fs";
import path from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** How many tests were left out for a reason. */
export type Skipped = Readonly<Record<string, number>>;

export default class SkippedReporter implements Reporter {
  private readonly file: string;

  /** @param options vitest's own, of which there are none from the command line */
  constructor({ file = path.join(".cache", "skipped.json") }: { readonly file?: string } = {}) {
    this.file = file;
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped: Record<string, number> = {};
    for (const module of modules) {
      for (const test of module.children.allTests("skipped")) {
        const reason = reasonOf(test);
        skipped[reason] = (skipped[reason] ?? 0) + 1;
      }
    }
    fs.mkdirSync(path.dirname(this.file), { recursive: true });
    fs.writeFileSync(this.file, JSON.stringify(skipped));
  }
}

/** What the test said as it ran, or what it or a suite around it was declared to need. */
function reasonOf(test: TestCase): string {
  const result = test.result();
  if (result.state === "skipped" && result.note) return result.note;
  for (let at: TestCase | TestCase["parent"] = test; at.type !== "module"; at = at.parent) {
    const { missing } = at.meta();
    if (missing) return missing;
  }
  return `no reason is given (${test.module.relativeModuleId}: ${test.name})`;
}
