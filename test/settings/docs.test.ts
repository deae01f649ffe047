/** The documentation of a setting in a notebook or an editor equals that in its table row. */
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import type { SettingRow } from "../../lib/settings/rows.js";
import { settingRows } from "../../lib/settings/settings.js";

const folder = path.join(import.meta.dirname, "..", "..", "lib", "settings");

/** A setting's documentation in two parts: what it is; its values, unit and default. */
function settingDoc({ type, wanted, unit, doc, default: value }: SettingRow): [what: string, values: string] {
  const measured = unit ? ` (${unit})` : "";
  const otherwise = typeof value === "string" ? `"${value}"` : value;
  const values = {
    integer: `${capitalized(wanted)}${measured}; default ${otherwise}.`,
    number: `${capitalized(wanted)}${measured}; default ${otherwise}.`,
    boolean: `Default ${otherwise}.`,
    text: `Default ${otherwise}.`,
    choice: `One of ${wanted}; default ${otherwise}.`,
  };
  return [doc, values[type]];
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** The comments of an interface's properties, joined to one line each. */
function comments(name: string, interfaceName: string): Record<string, string> {
  const file = path.join(folder, name);
  const source = ts.createSourceFile(file, fs.readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
  const found: Record<string, string> = {};
  for (const statement of source.statements) {
    if (!ts.isInterfaceDeclaration(statement) || statement.name.text !== interfaceName) continue;
    for (const member of statement.members) {
      const [doc] = ts.getJSDocCommentsAndTags(member);
      found[member.name!.getText()] = ts.getTextOfJSDocComment(doc?.comment)?.replace(/\s+/g, " ") ?? "";
    }
  }
  return found;
}

test("each property of Settings has the documentation of its table row: description, values, unit and default", () => {
  const wanted = Object.entries(settingRows("train")).map(([key, row]) => [key, settingDoc(row).join(" ")]);
  const found = { ...comments("model.ts", "ModelSettings"), ...comments("train.ts", "Settings") };
  expect(found).toEqual(Object.fromEntries(wanted));
});

test("the two sentences of a row contain its text, range, unit and default", () => {
  const rows = settingRows("train");
  expect(settingDoc(rows.nLayer!)).toEqual([
    "Transformer blocks, one after the other.",
    "A whole number of at least 1 (blocks); default 12.",
  ]);
  expect(settingDoc(rows.schedule!)[1]).toBe('One of cosine, linear, constant, wsd; default "cosine".');
  expect(settingDoc(rows.bias!)[1]).toBe("Default false.");
});
