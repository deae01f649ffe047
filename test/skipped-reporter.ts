/** A vitest reporter that records skipped tests and their reasons, for the last lines of `npm test` (bin/test.mjs). */
import fs from "node:fs";
import path from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** The number of skipped tests by reason. */
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

/** The reason given by the test at run time, or declared by the test or a suite around it. */
function reasonOf(test: TestCase): string {
  const result = test.result();
  if (result.state === "skipped" && result.note) return result.note;
  for (let at: TestCase | TestCase["parent"] = test; at.type !== "module"; at = at.parent) {
    const { missing } = at.meta();
    if (missing) return missing;
  }
  return `no reason is given (${test.module.relativeModuleId}: ${test.name})`;
}
