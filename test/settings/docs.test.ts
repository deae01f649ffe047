/** What a notebook or an editor shows of a setting is what its row says: one is not changed without the other. */
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { settingDoc } from "../../lib/settings/rows.js";
import { settingRows } from "../../lib/settings/settings.js";

const folder = path.join(import.meta.dirname, "..", "..", "lib", "settings");

/** The comments of an interface's properties, in one line each. */
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

test("each property of Settings is documented as its row in the table: what it is, its values, unit and default", () => {
  const wanted = Object.entries(settingRows("train")).map(([key, row]) => [key, settingDoc(row).join(" ")]);
  const found = { ...comments("model.ts", "ModelSettings"), ...comments("train.ts", "Settings") };
  expect(found).toEqual(Object.fromEntries(wanted));
});

test("a row's two sentences hold its text, its range, its unit and its default", () => {
  const rows = settingRows("train");
  expect(settingDoc(rows.nLayer!)).toEqual([
    "Transformer blocks, one after the other.",
    "A whole number of at least 1 (blocks); default 12.",
  ]);
  expect(settingDoc(rows.schedule!)[1]).toBe('One of cosine, linear, constant, wsd; default "cosine".');
  expect(settingDoc(rows.bias!)[1]).toBe("Default false.");
});
