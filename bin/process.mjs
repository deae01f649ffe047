/**
 * How set-up runs other programs: output goes to a log file and progress to the screen; only one set-up runs at a time;
 * and no program is left running, neither after Ctrl-C nor, once the next set-up starts, after a kill.
 */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { readJson } from "./state.mjs";

/**
 * @typedef {{ pid: number, host: string, children: { pid: number, command: string }[] }} LockContent
 * @typedef {{ children: Map<number, string>, save: () => void, release: () => void }} Lock
 * @typedef {{ cwd?: string, env?: NodeJS.ProcessEnv, logFile: string, lock?: Lock, onLine?: (line: string) => void }}
 * RunOptions
 */

const heartbeatMs = 2_000;
const abandonedMs = 30_000;

/**
 * Takes the lock file, waiting while another running set-up holds it. A lock is stale if its process is gone or, on
 * another host, if its file has not been touched for half a minute. Programs that a dead holder left running are
 * stopped.
 * @param {string} file
 * @param {(holder: number) => void} [onWait] called once, with the process that holds the lock
 * @returns {Promise<Lock>}
 */
export async function takeLock(file, onWait) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  /** @type {Map<number, string>} */
  const children = new Map();
  const content = () =>
    JSON.stringify({
      pid: process.pid,
      host: os.hostname(),
      children: [...children].map(([pid, command]) => ({ pid, command })),
    });
  for (let waited = false; ; ) {
    if (tryCreate(file, content())) break;
    const holder = /** @type {LockContent | undefined} */ (readJson(file));
    if (isStale(file, holder)) {
      for (const child of holder?.children ?? []) await stopOrphan(child);
      removeStale(file, holder);
      continue;
    }
    if (!waited && holder) onWait?.(holder.pid);
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const heartbeat = setInterval(() => {
    if (fs.existsSync(file)) fs.utimesSync(file, new Date(), new Date());
  }, heartbeatMs);
  heartbeat.unref();
  return {
    children,
    save: () => {
      fs.writeFileSync(`${file}.${process.pid}`, content());
      fs.renameSync(`${file}.${process.pid}`, file);
    },
    release: () => {
      clearInterval(heartbeat);
      if (readJson(file)?.pid === process.pid) fs.rmSync(file, { force: true });
    },
  };
}

/**
 * Makes the lock as a link to a complete file, so that it never exists without its content.
 * @param {string} file
 * @param {string} text
 */
function tryCreate(file, text) {
  const beside = `${file}.${process.pid}`;
  fs.writeFileSync(beside, text);
  try {
    fs.linkSync(beside, file);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === "EEXIST") return false;
    throw error;
  } finally {
    fs.rmSync(beside, { force: true });
  }
}

/**
 * Moves a stale lock away and checks it: if another process has taken the lock meanwhile, it is put back.
 * @param {string} file
 * @param {LockContent | undefined} holder
 */
function removeStale(file, holder) {
  const aside = `${file}.${process.pid}.stale`;
  try {
    fs.renameSync(file, aside);
    if (readJson(aside)?.pid !== holder?.pid) fs.linkSync(aside, file);
  } catch {
    // Another process was faster; the next attempt to take the lock decides.
  }
  fs.rmSync(aside, { force: true });
}

/**
 * @param {string} file
 * @param {LockContent | undefined} holder
 */
function isStale(file, holder) {
  const touched = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  if (touched === undefined) return false;
  if (holder?.host === os.hostname() && !isAlive(holder.pid)) return true;
  return Date.now() - touched > abandonedMs;
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "EPERM";
  }
}

/**
 * Ends a program that a killed set-up left running, with its process group, and waits until it is gone. The process id
 * may have been reused, so the command must still be the same.
 * @param {{ pid: number, command: string }} child
 */
async function stopOrphan({ pid, command }) {
  const isOurs = () =>
    spawnSync("ps", ["-o", "args=", "-p", String(pid)], { encoding: "utf8" }).stdout?.includes(command);
  if (!isOurs()) return;
  process.kill(-pid, "SIGKILL");
  for (let tries = 0; tries < 100 && isAlive(pid); tries++) await new Promise((resolve) => setTimeout(resolve, 50));
}

/**
 * Runs a program to its end, with its output written to the log.
 * @param {string} command
 * @param {string[]} args
 * @param {RunOptions} options
 * @returns {Promise<void>}
 * @throws {Error} when it fails, with its first errors and the end of its output
 */
export function runCommand(command, args, { cwd, env, logFile, lock, onLine }) {
  fs.mkdirSync(path.dirname(logFile), { recursive: true });
  fs.appendFileSync(logFile, `\n$ ${[command, ...args].join(" ")}\n`);
  return new Promise((resolve, reject) => {
    // Detached: a process group of its own, which can be ended as a whole.
    const child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    if (child.pid && lock) {
      lock.children.set(child.pid, args.slice(0, 3).join(" "));
      lock.save();
    }
    /** @type {string[]} */
    let tail = [];
    /** @type {string[]} */
    const errors = [];
    /** @param {Buffer} chunk */
    const take = (chunk) => {
      fs.appendFileSync(logFile, chunk);
      const lines = chunk
        .toString()
        .split(/[\r\n]+/)
        .filter((line) => line.trim());
      tail = [...tail, ...lines].slice(-12);
      errors.push(...lines.filter((line) => /\berror\b/i.test(line)).slice(0, 8 - errors.length));
      if (lines.length > 0) onLine?.(lines.at(-1) ?? "");
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    const forget = () => {
      if (!child.pid || !lock) return;
      lock.children.delete(child.pid);
      lock.save();
    };
    child.on("error", (error) => {
      forget();
      reject(new Error(`Cannot run ${command}: ${error.message}`));
    });
    child.on("close", (code, signal) => {
      forget();
      if (code === 0) return resolve();
      const how = signal ? `was ended by ${signal}` : `failed with exit code ${code}`;
      const shown = [command, ...args]
        .map((part) => path.basename(part))
        .join(" ")
        .slice(0, 100);
      reject(
        new Error(
          [
            `${shown} ${how}:`,
            ...new Set([...errors, ...tail].map((line) => `  | ${line}`)),
            `The whole output: ${logFile}`,
          ].join("\n"),
        ),
      );
    });
  });
}

/**
 * While the lock is held, ends its programs together with this one on Ctrl-C and similar signals, and when its output
 * is closed.
 * @param {Lock} lock
 * @returns {() => void} stops doing so, and releases the lock
 */
export function endTogether(lock) {
  const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 };
  /** @param {number} exitCode */
  const stop = (exitCode) => {
    for (const pid of lock.children.keys()) {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // It has already ended.
      }
    }
    lock.release();
    process.stdout.write("\nStopped. The next set-up continues from here.\n");
    process.exit(exitCode);
  };
  const signals = /** @type {(keyof typeof exitCodes)[]} */ (Object.keys(exitCodes));
  /** @param {NodeJS.Signals} signal */
  const onSignal = (signal) => stop(exitCodes[/** @type {keyof typeof exitCodes} */ (signal)]);
  /** @param {NodeJS.ErrnoException} error */
  const onLost = ({ code }) => stop(code === "EPIPE" ? 141 : 1);
  for (const signal of signals) process.once(signal, onSignal);
  process.stdout.once("error", onLost);
  return () => {
    for (const signal of signals) process.off(signal, onSignal);
    process.stdout.off("error", onLost);
    lock.release();
  };
}

/**
 * One line per step: while it runs, on a terminal, its program's last output and the elapsed seconds; at its end, its
 * time.
 * @param {NodeJS.WriteStream} [out]
 */
export function progress(out = process.stdout) {
  return {
    /**
     * @param {string} title
     * @param {string} reason
     */
    start(title, reason) {
      const startMs = performance.now();
      const seconds = () => ((performance.now() - startMs) / 1000).toFixed(1);
      let line = reason;
      const draw = () => {
        const text = `  … ${title}, ${seconds()} s  ${line}`;
        out.write(`\r\x1b[K${text.slice(0, (out.columns || 80) - 1)}`);
      };
      const timer = out.isTTY ? setInterval(draw, 200) : undefined;
      timer?.unref();
      if (!out.isTTY) out.write(`  … ${title} (${reason})\n`);
      const end = (/** @type {string} */ mark) => {
        if (timer) clearInterval(timer);
        out.write(`${out.isTTY ? "\r\x1b[K" : ""}  ${mark} ${title}, ${seconds()} s\n`);
      };
      return {
        /** @param {string} text */
        say(text) {
          line = text.trim();
        },
        done: () => end("✓"),
        failed: () => end("✗"),
      };
    },
  };
}
