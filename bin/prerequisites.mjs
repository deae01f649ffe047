/**
 * Checks the machine for what set-up needs, and names the commands that install what is missing.
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/**
 * @typedef {"debian" | "fedora" | "macos" | "unknown"} System
 * @typedef {{ what: string, remedy: Partial<Record<System, string>> }} Missing
 * @typedef {{ path: string, version: string }} Python
 */

export const minimumNode = /** @type {const} */ ([20, 19]);

export const windowsHelp = `Folio runs on Windows inside WSL2 (Windows Subsystem for Linux). In PowerShell, as administrator:
  wsl --install -d Ubuntu
restart, open "Ubuntu" from the start menu, and there:
  sudo apt-get update && sudo apt-get install -y git python3 python3-venv g++ curl
  curl -fsSL https://deb.nodesource.com/setup_22.x | sudo -E bash - && sudo apt-get install -y nodejs
then clone the repository inside WSL2's own file system (cd ~) and run npm start. An NVIDIA GPU works through the
Windows driver; install none inside WSL2.`;

/** @returns {System} */
export function thisSystem(release = readRelease(), platform = process.platform) {
  if (platform === "darwin") return "macos";
  if (/^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release)) return "debian";
  if (/^ID(_LIKE)?=.*(fedora|rhel)/m.test(release)) return "fedora";
  return "unknown";
}

function readRelease() {
  return fs.existsSync("/etc/os-release") ? fs.readFileSync("/etc/os-release", "utf8") : "";
}

/**
 * @param {string} [version]
 * @returns {Missing | undefined}
 */
export function missingNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > minimumNode[0] || (major === minimumNode[0] && minor >= minimumNode[1])) return undefined;
  return {
    what: `Node.js ${minimumNode.join(".")} or newer (this is ${version})`,
    remedy: {
      debian: "curl -fsSL https://deb.nodesource.com/setup_22.x | sudo -E bash - && sudo apt-get install -y nodejs",
      fedora: "sudo dnf install -y nodejs22",
      macos: "brew install node@22",
    },
  };
}

/** TensorFlow's wheels exist for CPython 3.10 to 3.13, on glibc or on macOS with Apple silicon. */
/** @returns {Missing | undefined} */
export function missingPlatform(platform = process.platform, arch = process.arch) {
  const musl = platform === "linux" && fs.readdirSync("/lib").some((name) => name.startsWith("ld-musl")) && !hasGlibc();
  const known =
    (platform === "linux" && (arch === "x64" || arch === "arm64")) || (platform === "darwin" && arch === "arm64");
  if (known && !musl) return undefined;
  const found = musl ? `${platform} with musl instead of glibc` : `${platform} ${arch}`;
  return { what: `Linux with glibc on x86-64 or arm64, or macOS on Apple silicon (this is ${found})`, remedy: {} };
}

function hasGlibc() {
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report.getReport());
  return report.header.glibcVersionRuntime !== undefined;
}

/**
 * The first Python 3.10 to 3.13 that can make virtual environments, or what is missing.
 * @param {string[]} [candidates]
 * @returns {Python | Missing}
 */
export function findPython(candidates = pythonCandidates()) {
  /** @type {string[]} */
  const seen = [];
  for (const command of candidates) {
    const code = "import sys; print('%d.%d.%d' % sys.version_info[:3], sys.executable); import venv, ensurepip";
    const result = spawnSync(command, ["-c", code], { encoding: "utf8" });
    const [version = "", executable = ""] = (result.stdout ?? "").trim().split(" ");
    const [major, minor = 0] = version.split(".").map(Number);
    if (major === 3 && minor >= 10 && minor <= 13) {
      if (result.status === 0) return { path: executable, version };
      seen.push(`${command} is ${version} without venv`);
    } else if (version) seen.push(`${command} is ${version}`);
  }
  const found = seen.length > 0 ? ` (${seen.join(", ")})` : " (none was found)";
  return {
    what: `Python 3.10 to 3.13 with venv${found}; to use another, set FOLIO_PYTHON=/path/to/python`,
    remedy: {
      debian: "sudo apt-get install -y python3 python3-venv",
      fedora: "sudo dnf install -y python3.13",
      macos: "brew install python@3.13",
    },
  };
}

function pythonCandidates() {
  if (process.env.FOLIO_PYTHON) return [process.env.FOLIO_PYTHON];
  return ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
}

/** The commands of C++ compilers, in the order of trying. */
export function compilerCandidates() {
  return process.env.CXX ? [process.env.CXX] : ["g++", "clang++", "c++"];
}

/**
 * The first C++ compiler that compiles C++17, or what is missing.
 * @param {string[]} [candidates]
 * @returns {string[] | Missing}
 */
export function findCompiler(candidates = compilerCandidates()) {
  for (const candidate of candidates) {
    const [command = "", ...args] = candidate.trim().split(/\s+/);
    const options = [...args, "-std=c++17", "-x", "c++", "-fsyntax-only", "-"];
    const result = spawnSync(command, options, { input: "#include <optional>\nstd::optional<int> x;\n" });
    if (result.status === 0) return [command, ...args];
  }
  return {
    what: `a C++17 compiler (none of ${candidates.join(", ")} compiles a test line)`,
    remedy: {
      debian: "sudo apt-get install -y g++",
      fedora: "sudo dnf install -y gcc-c++",
      macos: "xcode-select --install",
    },
  };
}

/**
 * @param {string} dir an existing folder, or one whose parents exist
 * @param {number} wantedBytes
 * @returns {Missing | undefined}
 */
export function missingDisk(dir, wantedBytes) {
  let existing = dir;
  while (!fs.existsSync(existing)) existing = path.dirname(existing);
  const { bavail, bsize } = fs.statfsSync(existing);
  const freeBytes = bavail * bsize;
  if (freeBytes >= wantedBytes) return undefined;
  const gigabytes = (/** @type {number} */ bytes) => (bytes / 1e9).toFixed(1);
  return { what: `${gigabytes(wantedBytes)} GB free at ${existing} (${gigabytes(freeBytes)} are)`, remedy: {} };
}

/**
 * @param {Missing[]} missing
 * @param {System} [system]
 */
export function describeMissing(missing, system = thisSystem()) {
  const names = { debian: "Debian, Ubuntu", fedora: "Fedora", macos: "macOS", unknown: os.type() };
  const lines = missing.flatMap(({ what, remedy }) => {
    const systems = /** @type {System[]} */ (Object.keys(remedy)).filter(
      (name) => name === system || system === "unknown",
    );
    return [`  - ${what}`, ...systems.map((name) => `      ${names[name]}: ${remedy[name]}`)];
  });
  return ["Cannot set up Folio: this machine lacks", ...lines, "Then run the same command again."].join("\n");
}
