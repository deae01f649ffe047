/** Runs before each test file while mutants are tested: notes the test under way, and skips those of the other half. */
import fs from "node:fs";
import path from "node:path";
import { beforeEach } from "vitest";

const { FOLIO_MUTATION_NOW: now, FOLIO_MUTATION_SLOW: slowFile, FOLIO_MUTATION_HALF: half } = process.env;
const slow = slowFile ? (JSON.parse(fs.readFileSync(slowFile, "utf8")) as string[]) : [];

beforeEach(({ task, skip }) => {
  const file = path.relative(process.cwd(), task.file.filepath);
  const isSlow = slow.includes(`${task.file.projectName} ${file} ${task.fullTestName}`);
  skip(Boolean(half) && isSlow !== (half === "slow"));
  // Synchronously, so that a test that never returns is known by its name.
  if (now) fs.writeFileSync(now, `${file}: ${task.fullTestName}`);
});
