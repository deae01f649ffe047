import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { compileVariants, describeFailure, nativeVariants } from "../../bin/native.mjs";
import {
  describeMissing,
  findCompiler,
  findPython,
  missingDisk,
  missingNode,
  missingPlatform,
  thisSystem,
} from "../../bin/prerequisites.mjs";
import { runCommand, takeLock } from "../../bin/process.mjs";
import { linkFlags, swapLink } from "../../bin/setup.mjs";
import * as state from "../../bin/state.mjs";
import { countLine, countNotebooks, countOperations, countVitest, untested } from "../../bin/test.mjs";

let scratch: string;
beforeEach(() => {
  scratch = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "folio-setup-")));
});
afterEach(() => {
  vi.unstubAllEnvs();
  fs.rmSync(scratch, { recursive: true, force: true });
});

function write(name: string, content: string | object, mode = 0o644): string {
  const file = path.join(scratch, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content), { mode });
  return file;
}

describe("npm packages", () => {
  const entry = { version: "1.0.0", integrity: "sha512-a" };
  const lock = (packages: object) => ({ packages: { "": {}, ...packages } });
  const reason = () => state.packagesReason(state.layout(scratch));

  test("are complete if npm's record at its end matches the lock file", () => {
    write(
      "package-lock.json",
      lock({ "node_modules/a": entry, "node_modules/other-system": { ...entry, optional: true } }),
    );
    write("node_modules/.package-lock.json", lock({ "node_modules/a": entry }));
    write("node_modules/a/package.json", {});
    expect(reason()).toBeUndefined();
  });

  test("are installed again when npm was killed, another version is there or a folder is gone", () => {
    write("package-lock.json", lock({ "node_modules/a": entry }));
    write("node_modules/a/package.json", {});
    expect(reason()).toMatch("incomplete");
    write("node_modules/.package-lock.json", lock({ "node_modules/a": { ...entry, version: "0.9.0" } }));
    expect(reason()).toBe("node_modules/a is 0.9.0, not 1.0.0");
    write("node_modules/.package-lock.json", lock({ "node_modules/a": entry }));
    fs.rmSync(path.join(scratch, "node_modules/a"), { recursive: true });
    expect(reason()).toBe("node_modules/a is missing");
  });

  test("of a project that has installed Folio are found in a parent folder and left alone", () => {
    write("node_modules/@tensorflow/tfjs-node-gpu/package.json", {});
    write("node_modules/node-api-headers/package.json", {});
    write("node_modules/folio/requirements-tensorflow.txt", "tensorflow==2\n");
    const at = state.layout(path.join(scratch, "node_modules/folio"));
    expect(at.checkout).toBe(false);
    expect(state.packagesReason(at)).toBeUndefined();
    expect(at.tfjs).toBe(path.join(scratch, "node_modules/@tensorflow/tfjs-node-gpu"));
    expect(at.venv).toMatch(/folio\/venv-[0-9a-f]{8}$/);
  });
});

describe("the build", () => {
  test("is due when a source is newer, was added or was never built, and not otherwise", () => {
    for (const file of ["package-lock.json", "tsconfig.json", "tsconfig.build.json"]) write(file, {});
    write("lib/a.ts", "");
    write("data/set/prepare.ts", "");
    write("data/set/train.bin", "");
    const at = state.layout(scratch);
    expect(state.sourceFiles(scratch)).toEqual(["data/set/prepare.ts", "lib/a.ts"]);
    expect(state.buildReason(at)).toMatch("incomplete");
    state.writeWhole(state.buildStampFile(at), JSON.stringify({ key: state.hash(state.sourceFiles(scratch)) }));
    expect(state.buildReason(at)).toBe("dist lacks data/set/prepare.ts");
    write("dist/lib/a.js", "");
    write("dist/data/set/prepare.js", "");
    expect(state.buildReason(at)).toBeUndefined();
    fs.utimesSync(path.join(scratch, "lib/a.ts"), new Date(), new Date(Date.now() + 5000));
    expect(state.buildReason(at)).toBe("lib/a.ts is newer");
    write("lib/b.ts", "");
    expect(state.buildReason(at)).toMatch("added or removed");
  });
});

describe("prerequisites", () => {
  test("Node 20.19, 22 and 24 are enough, 18 and 20.18 are not", () => {
    expect(["20.19.0", "22.1.0", "24.0.0"].map((version) => missingNode(version))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect(missingNode("20.18.3")?.what).toBe("Node.js 20.19 or newer (this is 20.18.3)");
    expect(missingNode("18.20.0")).toBeDefined();
  });

  test("a Python between 3.10 and 3.13 that has venv is found among others", () => {
    const fake = (name: string, version: string, exitCode: number) =>
      write(name, `#!/bin/sh\necho ${version} /usr/bin/${name}\nexit ${exitCode}\n`, 0o755);
    const old = fake("python3.9", "3.9.1", 0);
    const future = fake("python3.14", "3.14.0", 0);
    const bare = fake("python3.11", "3.11.2", 1);
    const good = fake("python3.12", "3.12.4", 0);
    expect(findPython([old, future, bare, good])).toEqual({ path: "/usr/bin/python3.12", version: "3.12.4" });
    const missing = findPython([old, future, bare, path.join(scratch, "none")]);
    expect(missing).toHaveProperty("what", expect.stringContaining(`${bare} is 3.11.2 without venv`));
  });

  test("a missing prerequisite is named with the system's command, or with all commands if the system is unknown", () => {
    const python = findPython([path.join(scratch, "none")]);
    const compiler = findCompiler([path.join(scratch, "none")]);
    if (!("remedy" in python) || !("remedy" in compiler)) throw new Error("Found what does not exist.");
    const text = describeMissing([python, compiler], "debian");
    expect(text).toContain("sudo apt-get install -y python3 python3-venv");
    expect(text).toContain("sudo apt-get install -y g++");
    expect(text).not.toContain("dnf");
    const everywhere = describeMissing([python, compiler], "unknown");
    for (const command of ["apt-get", "dnf", "brew", "xcode-select"]) expect(everywhere).toContain(command);
  });

  test("systems are identified by os-release; unsupported ones and full disks are named", () => {
    expect(thisSystem('ID=ubuntu\nID_LIKE="debian"\n', "linux")).toBe("debian");
    expect(thisSystem('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "linux")).toBe("fedora");
    expect(thisSystem("", "darwin")).toBe("macos");
    expect(thisSystem("ID=arch\n", "linux")).toBe("unknown");
    expect(missingPlatform("darwin", "x64")?.what).toContain("this is darwin x64");
    expect(missingPlatform("darwin", "arm64")).toBeUndefined();
    expect(missingDisk(path.join(scratch, "not/yet"), 1)).toBeUndefined();
    expect(missingDisk(scratch, 1e18)?.what).toMatch(/^1000000000.0 GB free at/);
  });

  test("macOS links by path and leaves Node's symbols open, Linux links by name", () => {
    expect(linkFlags("/tf", "darwin")).toContain("/tf/libtensorflow_cc.2.dylib");
    expect(linkFlags("/tf", "darwin").slice(0, 2)).toEqual(["-undefined", "dynamic_lookup"]);
    expect(linkFlags("/tf", "linux")).toContain("-l:libtensorflow_cc.so.2");
  });
});

describe("running other programs", () => {
  test("a failure shows the first errors and the end of the output, and names the log", async () => {
    const logFile = path.join(scratch, "log");
    const script = "echo 'error: first'; for i in $(seq 100); do echo line $i; done; exit 3";
    const failure = runCommand("sh", ["-c", script], { logFile });
    await expect(failure).rejects.toThrow(
      /exit code 3:\n {2}\| error: first\n {2}\| line 89\n(.*\n)*.*line 100\n.*log$/,
    );
    expect(fs.readFileSync(logFile, "utf8")).toContain("line 1\n");
    await expect(runCommand(path.join(scratch, "none"), [], { logFile })).rejects.toThrow("Cannot run");
  });

  test("a second set-up waits for the first", async () => {
    const file = path.join(scratch, "lock");
    const first = await takeLock(file);
    let holder = 0;
    let second: Awaited<ReturnType<typeof takeLock>> | undefined;
    let waiting: Promise<void> | undefined;
    await new Promise<void>((resolve) => {
      waiting = takeLock(file, (pid) => {
        holder = pid;
        resolve();
      }).then((lock) => {
        second = lock;
      });
    });
    expect(second).toBeUndefined();
    expect(holder).toBe(process.pid);
    first.release();
    await waiting;
    second?.release();
    expect(fs.existsSync(file)).toBe(false);
  });

  test("the lock of a dead set-up is taken over, and the program that it left running is ended", async () => {
    const orphan = spawn("sleep", ["300.25"], { detached: true, stdio: "ignore" });
    const ended = new Promise((resolve) => orphan.on("exit", (_code, signal) => resolve(signal)));
    const dead = spawn("true");
    await new Promise((resolve) => dead.on("exit", resolve));
    const children = [{ pid: orphan.pid, command: "300.25" }];
    const file = write("lock", { pid: dead.pid, host: os.hostname(), children });
    (await takeLock(file)).release();
    expect(await ended).toBe("SIGKILL");
  });

  test("a link is replaced atomically, and a folder in its place is moved away", () => {
    const link = path.join(scratch, ".venv");
    write(".venv/old", "");
    write("cache/venv-1/new", "");
    swapLink(link, path.join(scratch, "cache/venv-1"));
    expect(fs.readlinkSync(link)).toBe("cache/venv-1");
    expect(fs.readdirSync(link)).toEqual(["new"]);
    expect(fs.existsSync(path.join(scratch, "cache/venv-1-replaced/old"))).toBe(true);
    write("cache/venv-2/newer", "");
    swapLink(link, path.join(scratch, "cache/venv-2"));
    expect(fs.readdirSync(link)).toEqual(["newer"]);
  });
});

/**
 * The real set-up on a scratch checkout, with an npm, a Python and a TypeScript that only write the files that matter,
 * and the real C++ compiler on a file of one line. Each can be paused at a place, HOLD_AT, which it then reports by a
 * file.
 */
describe("a whole set-up", () => {
  const hold = `const hold = (place) => {
    if (process.env.HOLD_AT !== place) return;
    require("node:fs").writeFileSync(process.env.HELD, "");
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  };`;
  const holdInShell = `hold() { if [ "$HOLD_AT" = "$1" ]; then : > "$HELD"; sleep 1000; fi; }`;
  const packages = ["@tensorflow/tfjs-node-gpu", "node-api-headers", "tslab", "typescript"];

  function scratchCheckout(): NodeJS.ProcessEnv {
    const entries = packages.map((name) => [`node_modules/${name}`, { version: "1.0.0" }]);
    write("package-lock.json", { packages: { "": {}, ...Object.fromEntries(entries) } });
    write("tsconfig.json", {});
    write("tsconfig.build.json", {});
    write("requirements.txt", "jupyterlab==1\n");
    write("requirements-tensorflow.txt", "tensorflow==2.0\n");
    write("lib/index.ts", "");
    const npm = write(
      "fake/npm-cli.js",
      `const fs = require("node:fs");
      ${hold}
      hold("npm begins");
      fs.rmSync("node_modules", { recursive: true, force: true });
      for (const name of ${JSON.stringify(packages)}) {
        fs.mkdirSync("node_modules/" + name + "/bin", { recursive: true });
        fs.writeFileSync("node_modules/" + name + "/package.json", '{"version":"1.0.0"}');
      }
      hold("npm at work");
      const addon = 'extern "C" void *napi_register_module_v1(void *, void *) { return nullptr; }';
      fs.mkdirSync("node_modules/@tensorflow/tfjs-node-gpu/binding");
      fs.writeFileSync("node_modules/@tensorflow/tfjs-node-gpu/binding/one.cc", addon);
      fs.writeFileSync("node_modules/typescript/bin/tsc", \`
        const fs = require("node:fs");
        ${hold}
        hold("tsc begins");
        fs.mkdirSync("dist/lib", { recursive: true });
        fs.writeFileSync("dist/lib/index.js", "");
        hold("tsc at work");\`);
      fs.copyFileSync("package-lock.json", "node_modules/.package-lock.json");`,
    );
    const python = write(
      "fake/python3.11",
      `#!/bin/sh
      set -e
      here=$(dirname "$0")
      ${holdInShell}
      case "$1 $2" in
        "-c import"*) echo 3.11.9 "$0" ;;
        "-m venv") mkdir -p "$3/bin"; hold "venv at work"; ln -s "$0" "$3/bin/python" ;;
        "-m pip")
          tf="$here/../lib/python3.11/site-packages/tensorflow"
          mkdir -p "$tf"
          hold "pip at work"
          for name in cc framework; do echo | g++ -shared -x c++ - -o "$tf/libtensorflow_$name.so.2"; done
          mkdir "$tf-2.0.dist-info" ;;
      esac`,
      0o755,
    );
    const compiler = write(
      "fake/c++",
      `#!/bin/sh
      set -e
      ${holdInShell}
      case "$*" in *-shared*) hold "compiler begins" ;; esac
      g++ "$@"
      case "$*" in *-shared*) hold "compiler at work" ;; esac`,
      0o755,
    );
    vi.stubEnv("CXX", compiler); // the tests themselves use the same compiler
    return {
      ...process.env,
      npm_execpath: npm,
      FOLIO_PYTHON: python,
      FOLIO_TENSORFLOW: "cpu",
    };
  }

  /** Starts the set-up and kills it when one of its programs is paused. Resolves to its output. */
  function run(env: NodeJS.ProcessEnv, holdAt = ""): Promise<string> {
    const held = path.join(scratch, "held");
    fs.rmSync(held, { force: true });
    const program = `import(${JSON.stringify(pathToFileURL(path.resolve("bin/setup.mjs")).href)})
      .then(({ setup }) => setup({ root: ${JSON.stringify(scratch)} })).then((code) => process.exit(code))`;
    const child = spawn(process.execPath, ["-e", program], {
      env: { ...env, HOLD_AT: holdAt, HELD: held },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
    });
    const watching = setInterval(() => {
      if (fs.existsSync(held)) child.kill("SIGKILL");
    }, 5);
    return new Promise((resolve) =>
      child.on("close", () => {
        clearInterval(watching);
        resolve(output);
      }),
    );
  }

  test("that is killed in every step ends with the same result as one that is not", async () => {
    const env = scratchCheckout();
    for (const [place, step] of [
      ["npm begins", "npm packages"],
      ["npm at work", "npm packages"],
      ["venv at work", "TensorFlow and Jupyter"],
      ["pip at work", "TensorFlow and Jupyter"],
      ["compiler begins", "TensorFlow's binding"],
      ["compiler at work", "TensorFlow's binding"],
      ["tsc begins", "TypeScript build"],
      ["tsc at work", "TypeScript build"],
    ] as const) {
      const output = await run(env, place);
      expect(fs.existsSync(path.join(scratch, "held")), place).toBe(true);
      expect(output).toContain(`… ${step}`);
      expect(output).not.toContain(`✓ ${step}`);
    }
    expect(await run(env)).toMatch(/Folio is set up \(\d/);
    const at = state.layout(scratch);
    expect(state.pendingSteps(at)).toEqual([]);
    expect(fs.readdirSync(at.cacheDir).filter((name) => name.startsWith("venv-"))).toHaveLength(1);
    expect(fs.readdirSync(state.bindingPaths(at).dir).sort()).toEqual([
      "folio.json",
      path.basename(state.operationsPaths(at).stamp), // no library: the scratch checkout has no sources, and set-up continues
      "tfjs_binding.node",
    ]);
    expect(await run(env)).toMatch(/checked in/);
  });

  test("started twice at the same time does everything once", async () => {
    const env = scratchCheckout();
    const outputs = await Promise.all([run(env), run(env)]);
    expect(outputs.join("").match(/✓ npm packages/g)).toHaveLength(1);
    expect(outputs.join("").match(/Folio is set up/g)).toHaveLength(2);
    expect(state.pendingSteps(state.layout(scratch))).toEqual([]);
  });

  /** A compiler that runs `script` for Folio's kernels and g++ for everything else. */
  function compilerThat(script: string): string {
    const text = `#!/bin/sh\ncase "$*" in *variant.cc*) ${script} ;; esac\nexec g++ "$@"\n`;
    return write("fake/compiler", text, 0o755);
  }

  const failures = [
    [
      "fails",
      "echo 'variant.cc:3:1: error: no such instruction' >&2; exit 1",
      /cannot compile them \(variant.cc:3:1: error: no such instruction\)\. Remedy: choose another compiler with CXX/,
    ],
    [
      "crashes",
      "echo 'variant.cc:9:2: internal compiler error: Segmentation fault' >&2; exit 4",
      /crashed \(variant.cc:9:2: internal compiler error: Segmentation fault\)\. Remedy: choose another compiler with CXX/,
    ],
    [
      "is killed",
      "kill -9 $$",
      /was killed by the system, most likely for lack of memory\. Remedy: free some memory, then `npm run setup -- --retry`/,
    ],
  ] as const;
  test.each(failures)(
    "goes on without Folio's operations where the compiler %s, says so once, and tries another compiler",
    async (_what, script, said) => {
      const env = { ...scratchCheckout(), CXX: compilerThat(script) };
      const output = await run(env);
      expect(output).toMatch("✗ Folio's own operations");
      const lines = output.split("\n").filter((line) => line.includes("Reason:"));
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(said);
      expect(output).toMatch(/Folio is set up \(\d/);
      expect(await run(env)).toMatch(/checked in/); // not retried while nothing changes
      expect(await run({ ...env, CXX: "g++" })).toMatch("the compiler has changed");
    },
  );

  test("names the package to install if the compiler is missing, and continues", async () => {
    const env = scratchCheckout();
    await run(env);
    write("lib/engine/native/variant.cc", "int changed;");
    const output = await run({ ...env, CXX: path.join(scratch, "none") });
    expect(output).toMatch(/Reason: there is no C\+\+17 compiler \(.*none.*\)\. Remedy: .*, then `npm run setup`/);
    expect(output).toMatch(/Folio is set up \(\d/);
    expect(await run({ ...env, CXX: path.join(scratch, "none") })).toMatch(/checked in/);
  });

  test("notices changed requirements, a moved folder, a changed binding", async () => {
    await run(scratchCheckout());
    const at = state.layout(scratch);
    const due = () => state.pendingSteps(at).map(({ step }) => step);
    expect(due()).toEqual([]);
    fs.appendFileSync(state.bindingPaths(at).file, "x");
    expect(due()).toEqual(["binding"]);
    write("requirements.txt", "jupyterlab==2\n");
    expect(due()).toEqual(["venv", "binding"]);
    const moved = `${scratch}-moved`;
    fs.renameSync(scratch, moved);
    scratch = moved;
    expect(state.venvReason(state.layout(moved))).toBeDefined();
  });
});

describe("variants of the operations", () => {
  const failing = (...output: string[]) =>
    new Error(["cc failed with exit code 1:", ...output.map((line) => `  | ${line}`)].join("\n"));

  test("that the compiler cannot make are left out with those that depend on them; without the first there are none", async () => {
    const [first, ...others] = nativeVariants("x64");
    const compile = (refused: string) =>
      compileVariants({
        root: scratch,
        compiler: ["cc"],
        folder: path.join(scratch, "objects"),
        variants: nativeVariants("x64"),
        run: async (_command, args) => {
          if (args.includes(refused)) throw failing(`error: unrecognized option ${refused}`);
        },
      });
    const { made, left } = await compile("-mavx512bf16");
    expect(made).toEqual([first, ...others.slice(0, -1)]);
    expect(left).toEqual({ avx512bf16: "it needs GCC 10 or Clang 10" });
    const broken = await compile("-DFOLIO_VARIANT=avx2");
    expect(Object.keys(broken.left)).toEqual(["avx2"]);
    await expect(compile("-march=x86-64")).rejects.toThrow("unrecognized option");
  });

  test("never use AVX-512 FP16, with which GCC 12 cannot compile TensorFlow's headers", () => {
    for (const { flags } of nativeVariants("x64")) expect(flags.join(" ")).not.toMatch(/native|fp16/);
  });

  test("a compiler's error, its crash and its end for lack of memory are distinguished", () => {
    const what = (error: Error) => describeFailure(error, ["g++"]).what;
    expect(what(failing("x.cc:1:1: error: no"))).toBe("g++ cannot compile them (x.cc:1:1: error: no)");
    expect(what(failing("PLEASE submit a bug report to https://x"))).toMatch("g++ crashed");
    expect(what(new Error("g++ x.cc was ended by SIGSEGV:"))).toMatch("g++ crashed");
    expect(what(failing("g++: fatal error: Killed signal terminated program cc1plus"))).toMatch("lack of memory");
  });
});

describe("npm test's count", () => {
  const report = (passed: number, failed: number, testResults: object[] = []) => ({
    numPassedTests: passed,
    numFailedTests: failed,
    numPendingTests: 1,
    numTodoTests: 0,
    testResults,
  });

  test("adds vitest's numbers, and counts a file that does not load as a failure", () => {
    expect(countVitest({ exitCode: 0 }, report(5, 0))).toEqual({ passed: 5, failed: 0, skipped: 1 });
    const broken = [{ status: "failed", assertionResults: [] }];
    expect(countVitest({ exitCode: 1 }, report(5, 0, broken))).toEqual({ passed: 5, failed: 1, skipped: 1 });
  });

  test("fails when vitest ran nothing, wrote nothing, or ended badly without a failed test", () => {
    expect(countVitest({ exitCode: 0 }, undefined).failed).toBe(1);
    expect(countVitest({ exitCode: 0 }, report(0, 0)).failed).toBe(1);
    expect(countVitest({ exitCode: 1 }, report(5, 0)).failed).toBe(1);
  });

  test("takes the notebook runner's last line; without one it is one check", () => {
    expect(countNotebooks({ exitCode: 0, output: "x\n2 passed, 0 failed\n" })).toEqual({
      passed: 2,
      failed: 0,
      skipped: 0,
    });
    expect(countNotebooks({ exitCode: 1, output: "2 passed, 0 failed\n" }).failed).toBe(1);
    expect(countNotebooks({ exitCode: 1, output: "Missing script" })).toEqual({ passed: 0, failed: 1, skipped: 0 });
  });

  test("says what was not tested and why, most frequent first, and that operations are missing", () => {
    expect(untested(undefined, undefined)).toEqual([]);
    expect(untested({ "Slurm is not installed": 1, "there are no operations": 40 }, undefined)).toEqual([
      "not tested: 40 tests, because there are no operations",
      "not tested: 1 test, because Slurm is not installed",
    ]);
    const printed = "x  not run\nnot tested: notebook x, because no folder\n1 passed, 0 failed, 1 skipped\n";
    expect(untested({ "there is no GPU": 1 }, undefined, printed)).toEqual([
      "not tested: 1 test, because there is no GPU",
      "not tested: notebook x, because no folder",
    ]);
    expect(untested({}, "they could not be made")).toEqual([
      "not tested: anything with Folio's own operations, since TensorFlow's were used instead: they could not be made",
    ]);
  });

  test("fails if operations are missing that continuous integration could have compiled, and only then", () => {
    const missing = { reason: "they could not be made" };
    const ci = { ci: "true", fused: "", platform: "linux", compiler: () => ["g++"] };
    expect(countOperations(missing, ci).failed).toBe(1);
    expect(countOperations(undefined, ci).failed).toBe(0);
    expect(countOperations(missing, { ...ci, ci: "" }).failed).toBe(0);
    expect(countOperations(missing, { ...ci, fused: "0" }).failed).toBe(0);
    expect(countOperations(missing, { ...ci, platform: "darwin" }).failed).toBe(0);
    expect(countOperations(missing, { ...ci, compiler: () => ({ what: "a compiler" }) }).failed).toBe(0);
  });

  test("is one line", () => {
    expect(countLine({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed");
    expect(countLine({ passed: 3, failed: 1, skipped: 2 })).toBe("3 passed, 1 failed, 2 skipped");
  });
});
