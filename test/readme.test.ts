import fs from "node:fs";
import { describe, expect, test } from "vitest";
import { help } from "../lib/cli/scaling/main.js";
import { launchFlags } from "../lib/launch/arguments.js";
import { settingRows } from "../lib/settings/settings.js";
import { measuredPage, reproducedJson, withMeasured } from "./proofs/readme.js";

const readme = fs.readFileSync("README.md", "utf8");

describe("README.md", () => {
  test("says what the proofs measured, and nothing else", () => {
    const results = JSON.parse(fs.readFileSync("test/proofs/results.json", "utf8"));
    expect(withMeasured(readme, results)).toBe(readme);
    expect(fs.readFileSync("test/proofs/README.md", "utf8")).toBe(measuredPage(results));
    expect(fs.readFileSync("test/proofs/reproduce.json", "utf8")).toBe(reproducedJson(results));
    expect(`${readme}${measuredPage(results)}`).not.toMatch(/\b(undefined|NaN|Infinity|null)\b/);
  });

  test("lists every notebook and no others", () => {
    const listed = [...readme.matchAll(/\(notebooks\/([\w-]+)\.ipynb\)/g)].map(([, name]) => name);
    const there = fs.readdirSync("notebooks").filter((name) => name.endsWith(".ipynb"));
    expect(listed.sort()).toEqual(there.map((name) => name.replace(".ipynb", "")).sort());
  });

  test("links to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, target]) => target!);
    expect(links.filter((target) => !fs.existsSync(target))).toEqual([]);
  });

  test("uses flags that exist", async () => {
    const flags = [...readme.matchAll(/--([a-z]+(?:_[a-z]+)+)=/g)].map(([, name]) => name!);
    const known = new Set(Object.keys({ ...settingRows("train"), ...settingRows("sample") }));
    const parts = [...readme.matchAll(/folio scaling (\w+) /g)].map(([, part]) => part!);
    const helps = await Promise.all([...new Set(parts)].map((part) => help([part])));
    const scaling = [...helps.join("\n").matchAll(/--([a-z]+(?:_[a-z]+)+)/g)].map(([, name]) => name!);
    const camel = (name: string) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
    expect(flags.filter((name) => !known.has(camel(name)) && ![...launchFlags, ...scaling].includes(name))).toEqual([]);
  });
});
