import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { main } from "../../../lib/cli/main.js";
import { ended, killingItself, startChild, temporaryFolder, writeFox } from "../../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);

/** Two runs, of 11 steps and of 338. */
const options = {
  ...{ name: "fox", dataset: "fox", dataDir: folder, batchTokens: 16, learningRate: 1e-2, workers: 1, threads: 1 },
  settings: { blockSize: 8, device: "cpu", dtype: "float32" },
  grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.1, 3] },
  limits: { epochs: 100, fewestSteps: 20 },
  validationTokens: 128,
};
const planFile = path.join(folder, "fox.mjs");
fs.writeFileSync(planFile, `export default ${JSON.stringify(options)};\n`);

async function folio(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const stream = (append: (text: string) => void) => ({ write: append, isTTY: false });
  const io = {
    stdout: stream((text) => {
      out += text;
    }),
    stderr: stream((text) => {
      err += text;
    }),
  };
  return { code: await main(["scaling", ...args], io), out, err };
}

describe("folio scaling plan", () => {
  it("prints the runs, the dropped cells with their reasons, and the total", async () => {
    const file = path.join(folder, "fox.json");
    const { code, out, err } = await folio("plan", planFile, "--no-benchmark", `--out=${file}`);
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toMatch(/^run +N +tokens +epochs +batch +rate +steps +FLOPs +memory +time$/m);
    expect(out).toMatch(/^grid-6\.67e7-2L8 +1,800 +5,408 +3\.61 +16 +0\.01 +338 +6\.67e\+7 +0\.45 GB +-$/m);
    expect(out).toMatch(/^1 runs, 6\.671e\+7 FLOPs, 5,408 tokens$/m);
    expect(out).toMatch(/^ {2}grid 2L8: it has 11 steps; the minimum is 20 \(fewestSteps\)$/m);
    expect(JSON.parse(fs.readFileSync(file, "utf8"))).toMatchObject({ format: "folio-sweep-plan", name: "fox" });
    const json = await folio("plan", file, "--json");
    expect(JSON.parse(json.out).totals).toEqual({ runs: 1, flops: 66_713_088, tokens: 5408, ...noTimes });
  });

  it("is refused with one clear message", async () => {
    const message = async (...args: string[]) => (await folio(...args)).err;
    expect(await message("plan", "nowhere")).toMatch(
      /^folio: Cannot read the plan nowhere: there is no such file; Folio's own plans are novels.*\.\n$/,
    );
    expect(await message("plan", folder)).toMatch(/^folio: Cannot read the plan .*: there is no such file;/);
    expect(await message("plan", planFile, "--wokers=2")).toMatch(
      /^folio: Cannot read the flags: there is no flag --wokers; did you mean --workers\? See `folio scaling plan --help`\.\n$/,
    );
    expect(await message("run", planFile, `--out=${planFile}`)).toBe(
      `folio: Cannot write to ${planFile}: it is a file; name a folder for the sweep with --out.\n`,
    );
    expect(await message("run", planFile, "--workers=0")).toBe(
      'folio: Cannot read --workers: "0" is not a whole number above 0.\n',
    );
    expect(await message("run", planFile, "--retry=some")).toBe(
      'folio: Cannot read --retry: "some" is not failed, interrupted or all.\n',
    );
    expect(await message("status", folder)).toMatch(/^folio: Cannot show the status of .*: it has no plan\.json;/);
  });
});

describe("folio scaling run, refused or with nothing finished", () => {
  it.each([
    [
      ["--run=zz"],
      'Cannot do the run "zz": the plan has no run with this name or identity; the nearest is grid-6.67e7-2L8.',
    ],
    [["--slurm=--time=1:00"], "Cannot use --slurm here: it is only for --executor=slurm."],
    [["--executor=slurm", "--gpus=0"], "Cannot use --gpus here: with Slurm, use --slurm='--gpus=1'."],
    [["--only=grid-6.67e7-2L8", "--retry=all"], "Cannot use --retry here: --only does one run in this process."],
    [["--workers=5000"], "workers is 5000; "],
  ])("%j", async (flags, message) => {
    const { code, err } = await folio("run", planFile, `--out=${path.join(folder, "refused")}`, ...flags);
    expect(code).toBe(1);
    expect(err).toContain(message);
  });

  it("ends with 1 if every process is killed, and says what was tried", async () => {
    const out = path.join(folder, "killed");
    const { code, out: text } = await folio(
      "run",
      planFile,
      `--out=${out}`,
      `--command=echo {run} >> ${out}/told; kill -KILL $$`,
    );
    expect(code).toBe(1);
    expect(fs.readFileSync(path.join(out, "told"), "utf8")).toMatch(/^(?:[\da-f]{16}\n){3}$/);
    expect(text).toContain(
      "1 of the runs did not finish: their processes were killed 3 times, perhaps for lack of memory",
    );
  });

  it("names --retry if the remaining runs have failed", async () => {
    const out = path.join(folder, "failing");
    expect((await folio("run", planFile, `--out=${out}`, "--command=false # {run}")).code).toBe(1);
    const again = await folio("run", planFile, `--out=${out}`);
    expect(again.code).toBe(1);
    expect(again.out).toContain("nothing to do");
    expect(again.out).toContain("--retry=failed does them again");
  });

  it("does not accept the row of another run, or an invalid row", async () => {
    const out = path.join(folder, "foreign");
    await folio("run", planFile, `--out=${out}`, "--command=false # {run}");
    const [run] = fs.readdirSync(path.join(out, "runs"));
    const file = path.join(out, "runs", run!, "result.json");
    fs.writeFileSync(file, JSON.stringify({ run: "0123456789abcdef", loss: 2 }));
    expect((await folio("status", out)).err).toContain("it is the row of run 0123456789abcdef");
    fs.writeFileSync(file, JSON.stringify({ run, loss: "low" }));
    expect((await folio("status", out)).err).toContain("result.json: loss: ");
  });
});

describe("folio scaling plan, of JSON", () => {
  it("takes options, and names the key nearest to a misspelt one", async () => {
    const file = path.join(folder, "options.json");
    fs.writeFileSync(file, JSON.stringify(options));
    expect((await folio("plan", file, "--no-benchmark")).out).toContain("1 runs, 6.671e+7 FLOPs");
    fs.writeFileSync(file, JSON.stringify({ ...options, tread: 2 }));
    expect((await folio("plan", file, "--no-benchmark")).err).toContain('no key "tread"; did you mean threads?');
  });
});

const noTimes = { processorSeconds: null, seconds: null };

describe("folio scaling run", () => {
  it("continues after all processes are killed, and shows the state of each run", async () => {
    const out = path.join(folder, "out");
    const args = ["run", planFile, `--out=${out}`];
    const child = startChild(
      `const { main } = await load("lib/cli/main.ts"); process.exitCode = await main(["scaling", ...argument]);`,
      args,
      killingItself(1, 0, "SIGSTOP"), // pauses the run after its first checkpoint, so that it can be killed
    );
    const checkpoint = () => fs.readdirSync(out, { recursive: true }).some((file) => String(file).endsWith("last"));
    while (child.exitCode === null && !(fs.existsSync(out) && checkpoint())) await setTimeout(20);
    const workers = execFileSync("pgrep", ["-P", String(child.pid)], { encoding: "utf8" })
      .trim()
      .split("\n");
    expect(workers).toHaveLength(1);
    for (const pid of [child.pid!, ...workers.map(Number)]) process.kill(pid, "SIGKILL");
    expect((await ended(child)).signal).toBe("SIGKILL");

    const status = async () => JSON.parse((await folio("status", out, "--json")).out);
    let before = await status();
    for (; before.counts.running > 0; before = await status()) await setTimeout(20); // the system may need a moment to end it
    expect(before.counts).toMatchObject({ interrupted: 1, finished: 0 });
    expect(before.runs[0].step).toBeGreaterThan(0);

    const { code, out: text } = await folio(...args);
    expect(text).toMatch(
      /^1 interrupted: 1 to do, 1 process of 1 thread\n\[1\/1\] grid-6\.67e7-2L8: loss \d\.\d+, 338 steps/,
    );
    expect(code).toBe(0);
    expect((await folio("status", out)).out).toMatch(/^grid-6\.67e7-2L8 +[\da-f]{16} +finished +338 +338 +\d\.\d{4}$/m);
    expect((await folio(...args)).out).toMatch(/^1 finished: nothing to do$/m);
  });
});
