/**
 * Ends a test that never returns, with its name. vitest's own time-out needs a process that still answers, which one in
 * an endless loop does not: a thread watches it. vitest.config.ts has this as a setup file.
 */
import path from "node:path";
import { beforeEach, expect } from "vitest";
import { watch } from "./watch.js";

/** Beyond vitest's time-out for tests, so that what still answers is reported by vitest. */
const begins = await watch(660_000);
const file = path.relative(process.cwd(), expect.getState().testPath ?? "");
begins(`${file}: its imports, or what runs before all its tests`);
beforeEach(({ task }) => begins(`${file}: ${task.fullTestName}`));
