#!/usr/bin/env node
/**
 * `npm test`: runs set-up, then all checks, and times each. A failed check does not prevent the next ones. The last
 * lines say what was not tested and why, and count checks, vitest's tests and notebooks.
 */
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { findCompiler } from "./prerequisites.mjs";
import { setup } from "./setup.mjs";
import { missingOperations } from "./stale.mjs";
import { findPackage, packageRoot, readJson } from "./state.mjs";

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Count
 * @typedef {{ exitCode: number, output: string }} Outcome
 * @typedef {{ name: string, command: string[], quiet: boolean, count: (outcome: Outcome) => Count }} Stage
 */

const vitestReport = path.join(packageRoot, ".cache", "vitest.json");
/** The file in which test/skipped-reporter.ts records how many tests were skipped for each reason. */
const skippedReport = path.join(packageRoot, ".cache", "skipped.json");

/**
 * Counts a check as one test.
 * @param {{ exitCode: number }} outcome
 * @returns {Count}
 */
export function countCheck({ exitCode }) {
  return { passed: exitCode === 0 ? 1 : 0, failed: exitCode === 0 ? 0 : 1, skipped: 0 };
}

/**
 * Vitest's numbers. No tests at all, a test file that does not load, and an error outside a test are failures.
 * @param {{ exitCode: number }} outcome
 * @param {any} report what vitest's JSON reporter wrote
 * @returns {Count}
 */
export function countVitest({ exitCode }, report) {
  const passed = report?.numPassedTests ?? 0;
  const files = /** @type {{ status: string, assertionResults: { status: string }[] }[]} */ (report?.testResults ?? []);
  const broken = files.filter(
    (file) => file.status === "failed" && !file.assertionResults.some(({ status }) => status === "failed"),
  ).length;
  const failed = (report?.numFailedTests ?? 0) + broken;
  const skipped = (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0);
  const silent = failed === 0 && (exitCode !== 0 || passed === 0) ? 1 : 0;
  return { passed, failed: failed + silent, skipped };
}

/**
 * The notebook runner's last line, `N passed, N failed, N skipped`; without one, it counts as one check.
 * @param {Outcome} outcome
 * @returns {Count}
 */
export function countNotebooks(outcome) {
  const lines = [...outcome.output.matchAll(/^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm)];
  const [, passed, failed, skipped] = lines.at(-1) ?? [];
  if (passed === undefined) return countCheck(outcome);
  const count = { passed: Number(passed), failed: Number(failed), skipped: Number(skipped ?? 0) };
  if (count.failed === 0 && (outcome.exitCode !== 0 || count.passed === 0)) count.failed = 1;
  return count;
}

/**
 * What was not tested, one line per reason, the largest number of tests first, then notebooks.
 * @param {Record<string, number> | undefined} skipped how many tests were skipped for each reason
 * @param {string | undefined} operations why Folio's own operations are not used
 * @param {string} [notebooks] what the notebook runner printed
 * @returns {string[]}
 */
export function untested(skipped, operations, notebooks = "") {
  const tests = Object.entries(skipped ?? {})
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `not tested: ${count} ${count === 1 ? "test" : "tests"}, because ${reason}`);
  const lines = [...tests, ...(notebooks.match(/^not tested: .+$/gm) ?? [])];
  if (!operations) return lines;
  return [
    ...lines,
    `not tested: anything with Folio's own operations, since TensorFlow's were used instead: ${operations}`,
  ];
}

/**
 * Whether missing operations are a failure: only in continuous integration on Linux, if they could have been compiled
 * and were not switched off.
 * @param {{ reason: string } | undefined} missing
 * @param {{ ci?: string | undefined, fused?: string | undefined, platform?: string, compiler?: () => unknown }} machine
 * @returns {Count}
 */
export function countOperations(
  missing,
  { ci = process.env.CI, fused = process.env.FOLIO_FUSED, platform = process.platform, compiler = findCompiler } = {},
) {
  const expected = ci === "true" && fused !== "0" && platform === "linux" && Array.isArray(compiler());
  return countCheck({ exitCode: missing && expected ? 1 : 0 });
}

/** @param {Count} count */
export function countLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/**
 * @param {string} name a package with a program
 * @param {string} file the program, in the package
 * @param {string[]} args
 */
function program(name, file, ...args) {
  return [process.execPath, path.join(findPackage(packageRoot, name) ?? name, file), ...args];
}

/** @returns {Stage[]} */
function stages() {
  const npm = process.env.npm_execpath?.endsWith(".js") ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const reporters = ["default", "json", "./test/skipped-reporter.ts"].map((name) => `--reporter=${name}`);
  const vitestArgs = ["run", ...reporters, `--outputFile.json=${vitestReport}`];
  return [
    { name: "types", command: program("typescript", "bin/tsc", "-p", "tsconfig.json"), quiet: true, count: countCheck },
    { name: "lint", command: program("@biomejs/biome", "bin/biome", "check"), quiet: true, count: countCheck },
    { name: "unused exports", command: program("knip", "bin/knip.js"), quiet: true, count: countCheck },
    {
      name: "tests",
      command: program("vitest", "vitest.mjs", ...vitestArgs),
      quiet: false,
      count: (outcome) => countVitest(outcome, readJson(vitestReport)),
    },
    { name: "notebooks", command: [...npm, "run", "notebooks"], quiet: false, count: countNotebooks },
  ];
}

/**
 * Runs a program; its output is shown at once or, if quiet, only if it fails.
 * @param {string[]} command
 * @param {boolean} quiet
 * @returns {Promise<Outcome>}
 */
function run([command = "", ...args], quiet) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: packageRoot, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const take = (/** @type {Buffer} */ chunk) => {
      output += chunk;
      if (!quiet) process.stdout.write(chunk);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", (error) => resolve({ exitCode: 1, output: `${output}${error.message}\n` }));
    child.on("close", (code) => {
      if (quiet && code !== 0) process.stdout.write(output);
      resolve({ exitCode: code ?? 1, output });
    });
  });
}

async function main() {
  /** @type {{ name: string, seconds: number, count: Count }[]} */
  const done = [];
  /** @param {string} name @param {() => Promise<Count>} work */
  const timed = async (name, work) => {
    console.log(`\n== ${name}`);
    const startMs = performance.now();
    const count = await work();
    const seconds = (performance.now() - startMs) / 1000;
    done.push({ name, seconds, count });
    console.log(`== ${name}: ${count.failed === 0 ? "passed" : "FAILED"} in ${seconds.toFixed(1)} s`);
  };

  await timed("set-up", async () => countCheck({ exitCode: await setup() }));
  for (const file of [vitestReport, skippedReport]) fs.rmSync(file, { force: true });
  const missing = missingOperations();
  await timed("operations", async () => {
    if (missing) console.log(`Folio's own operations are not used: ${missing.reason} ${missing.remedy}`);
    return countOperations(missing);
  });
  let notebooks = "";
  for (const stage of stages()) {
    await timed(stage.name, async () => {
      const outcome = await run(stage.command, stage.quiet);
      if (stage.name === "notebooks") notebooks = outcome.output;
      return stage.count(outcome);
    });
  }

  console.log("\n== all");
  for (const { name, seconds, count } of done) {
    console.log(`${name.padEnd(16)} ${seconds.toFixed(1).padStart(7)} s   ${countLine(count)}`);
  }
  for (const line of untested(readJson(skippedReport), missing?.reason, notebooks)) console.log(line);
  const sum = (/** @type {keyof Count} */ key) => done.reduce((total, { count }) => total + count[key], 0);
  const total = { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
  console.log(
    `${"all".padEnd(16)} ${done
      .reduce((total, { seconds }) => total + seconds, 0)
      .toFixed(1)
      .padStart(7)} s`,
  );
  console.log(countLine(total));
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  process.exitCode = await main();
