/**
 * A copy of the checkout in a temporary folder, in which tests run with mutants: whatever a mutant deletes or writes, and
 * whenever this process is killed, the checkout's own files stay as they are.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { typescriptLoader } from "../../lib/host/package.js";

/** The faster or the slower tests of a file, in one of vitest's projects. */
export interface Unit {
  readonly project: string;
  readonly file: string;
  readonly half: "quick" | "slow";
}

/** Test files to run; `env` is added to the environment of their processes. */
export interface Request {
  readonly files: readonly string[];
  readonly project: string;
  readonly env: Readonly<Record<string, string>>;
}

/** What failed, up to the first failure, and the tests that passed. */
export interface Outcome {
  readonly failures: readonly string[];
  readonly tests: readonly { readonly file: string; readonly name: string; readonly ms: number }[];
}

export interface Sandbox {
  /**
   * Runs test files.
   * @param options `mutant`, the active one; `seen`, a file for the mutants that are reached; the limit in ms
   * @returns with `hangs`, the test that was under way at the limit
   */
  run(
    files: readonly string[],
    options: { project: string; half?: Unit["half"]; mutant?: number; seen?: string; limitMs?: number },
  ): Promise<Outcome & { readonly hangs?: string }>;
  /** Says which tests are slow, as `project file name`. */
  markSlow(names: readonly string[]): void;
  dispose(): void;
}

const config = `import { mergeConfig } from "vitest/config";
import ours from "./vitest.config.js";
export default mergeConfig(ours, { test: { setupFiles: ["test/mutation/setup.ts"], maxWorkers: 1, bail: 1 } });
`;

/** @param changed texts of the files that differ from the checkout */
export function openSandbox(root: string, changed: ReadonlyMap<string, string>): Sandbox {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), "folio-mutation-"));
  const at = (name: string) => path.join(work, name);
  const copy = copyOf(root, at("folio"), changed);
  let host: ChildProcess | undefined;
  const stop = () => {
    killGroup(host);
    host = undefined;
  };
  const dispose = () => {
    stop();
    fs.rmSync(work, { recursive: true, force: true });
  };
  const end = () => {
    dispose();
    process.exit(130);
  };
  process.once("SIGINT", end).once("SIGTERM", end);

  return {
    async run(files, { project, half = "", mutant = "", seen = "", limitMs }) {
      for (const name of ["tmp", "home"]) {
        fs.rmSync(at(name), { recursive: true, force: true });
        fs.mkdirSync(at(name));
      }
      fs.writeFileSync(at("now"), "the import of a test file");
      host ??= startHost(copy.folder);
      const env = {
        ...{ TMPDIR: at("tmp"), HOME: at("home"), FOLIO_MUTATION_NOW: at("now"), FOLIO_MUTATION_HALF: half },
        ...{ FOLIO_MUTATION_SLOW: fs.existsSync(at("slow")) ? at("slow") : "" },
        ...{ FOLIO_MUTANT: String(mutant), FOLIO_MUTANT_SEEN: seen },
      };
      const outcome = await answerOf(host, { files, project, env }, limitMs);
      if (copy.mend() || !outcome) stop();
      if (outcome) return outcome;
      const hangs = fs.readFileSync(at("now"), "utf8");
      return { failures: [hangs], hangs, tests: [] };
    },
    markSlow: (names) => fs.writeFileSync(at("slow"), JSON.stringify(names)),
    dispose() {
      process.off("SIGINT", end).off("SIGTERM", end);
      dispose();
    },
  };
}

/** Copies the checkout. `mend()` restores the copy if a file is no longer as it was, and says so. */
function copyOf(root: string, folder: string, changed: ReadonlyMap<string, string>) {
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  const isFile = (file: string) => file !== "" && fs.existsSync(path.join(root, file));
  const files = String(listed).split("\0").filter(isFile);
  const stampOf = (file: string) => {
    const { size, mtimeMs } = fs.statSync(path.join(folder, file), { throwIfNoEntry: false }) ?? {};
    return `${size} ${mtimeMs}`;
  };
  const fill = () => {
    fs.rmSync(folder, { recursive: true, force: true });
    for (const file of files) fs.cpSync(path.join(root, file), path.join(folder, file));
    for (const [file, text] of changed) fs.writeFileSync(path.join(folder, file), text);
    fs.writeFileSync(path.join(folder, "vitest.mutation.ts"), config);
    for (const name of ["node_modules", ".venv"].filter(isFile)) {
      fs.symlinkSync(fs.realpathSync(path.join(root, name)), path.join(folder, name));
    }
    return files.map(stampOf);
  };
  let stamps = fill();
  const mend = () => {
    if (files.every((file, i) => stampOf(file) === stamps[i])) return false;
    stamps = fill();
    return true;
  };
  return { folder, mend };
}

/** Starts vitest in the copy, at the head of a process group of its own. */
function startHost(folder: string): ChildProcess {
  return spawn(process.execPath, ["--import", typescriptLoader(), "test/mutation/host.ts"], {
    cwd: folder,
    detached: true,
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
}

/** The host's answer; nothing after the limit. @throws {Error} if the host itself ends */
function answerOf(host: ChildProcess, request: Request, limitMs = 2 ** 31 - 1): Promise<Outcome | undefined> {
  return new Promise((resolve, reject) => {
    let said = "";
    const listen = (more: Buffer) => {
      said = (said + more).slice(-2000);
    };
    const ended = () => reject(new Error(`vitest ended while it ran ${request.files.join(", ")}:\n${said}`));
    const settle = (outcome?: Outcome) => {
      clearTimeout(timer);
      host.stderr?.off("data", listen);
      host.off("exit", ended).off("message", settle);
      resolve(outcome);
    };
    host.stderr?.on("data", listen);
    const timer = setTimeout(settle, limitMs);
    host.once("exit", ended).once("message", settle);
    host.send(request);
  });
}

/** Kills a process with its descendants. */
function killGroup(leader: ChildProcess | undefined): void {
  if (leader?.pid === undefined) return;
  try {
    process.kill(-leader.pid, "SIGKILL");
  } catch {
    // All of them have ended.
  }
}
