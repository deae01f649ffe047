import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type FolderLock, lockFolder } from "../../lib/host/folder-lock.js";
import { ended, startChild, temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const run = path.join(folder, "a", "run");

describe("lockFolder()", () => {
  test("locks a folder only once, names the holder, and leaves nothing behind", () => {
    const lock = lockFolder(run) as FolderLock;
    expect(lockFolder(run)).toEqual({
      holder: expect.stringMatching(new RegExp(`^process ${process.pid} on \\S+, since \\d{4}-\\d\\d-\\d\\dT`)),
    });
    lock.release();
    expect(fs.existsSync(run)).toBe(false);
    const again = lockFolder(run) as FolderLock;
    fs.writeFileSync(path.join(run, "mine"), "");
    again.release();
    expect(fs.readdirSync(run)).toEqual(["mine"]);
  });

  test("the folder of a killed process is free at once", async () => {
    const script = `
      const { lockFolder } = await load("lib/host/folder-lock.ts");
      console.log(lockFolder(argument).holder ?? "held");
      setInterval(() => {}, 1000);`;
    const child = startChild(script, run);
    while (!/held|process/.test(child.output()) && child.exitCode === null) await setTimeout(5);
    expect(child.output()).toContain("held");
    expect(lockFolder(run)).toEqual({ holder: expect.stringContaining(`process ${child.pid} on `) });
    child.kill("SIGKILL");
    await ended(child);
    (lockFolder(run) as FolderLock).release();
  });

  test("a folder that cannot be created gives the error of the file system", () => {
    fs.writeFileSync(path.join(folder, "file"), "");
    expect(() => lockFolder(path.join(folder, "file", "run"))).toThrow("ENOTDIR");
  });
});
