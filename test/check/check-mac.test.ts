/** `folio check mac` on another machine: it refuses; taken for a Mac, it sees that the operations are not those of one. */
import { expect, test } from "vitest";
import demo from "../../configs/apple_demo.js";
import { checkMac } from "../../lib/check/check-mac.js";
import { operationsVariant } from "../../lib/engine/tensorflow/own-operations.js";
import { parseCheckSettings } from "../../lib/settings/settings.js";
import { folio } from "../cli/in-process.js";
import { needs } from "../needs.js";

const settings = parseCheckSettings("check mac", { maxIters: 1 });
const isMac = process.platform === "darwin" && process.arch === "arm64" ? "this machine is a Mac" : undefined;

test("on another machine it is refused with one message", needs(isMac), async () => {
  const { code, out, err } = await folio("check", "mac", "--data_dir=nowhere");
  expect({ code, out }).toEqual({ code: 1, out: "" });
  const here = `${process.platform} ${process.arch}`;
  expect(err).toBe(`folio: Cannot check the Mac: this machine is ${here}; wanted darwin arm64, Apple silicon.\n`);
});

test("a Mac with an Intel processor is refused too", async () => {
  const records = checkMac(settings, { demo, machine: { platform: "darwin", arch: "x64" } });
  await expect(records.next()).rejects.toThrow("this machine is darwin x64; wanted darwin arm64");
});

test("operations of another processor do not hold", needs(isMac), async () => {
  const records = checkMac(settings, { demo, machine: { platform: "darwin", arch: "arm64" } });
  const { value } = await records.next();
  await records.return(undefined);
  const found = operationsVariant() ?? "none";
  expect(value).toEqual({
    kind: "row",
    row: { what: "Folio's own operations", wanted: "neon or neonbf16", found, holds: found.startsWith("neon") },
  });
});
