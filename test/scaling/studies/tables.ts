/**
 * The public tables of five scaling studies, from a folder that FOLIO_STUDIES names: FOLDER/OWNER/REPOSITORY/PATH, as
 * scaling/tables/studies.ts lists them with their commits and checksums. The tables are their authors', so they are not
 * part of Folio.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import type { Point } from "../../../scaling/points.js";
import { type PublicStudy, type StudyName, studies } from "../../../scaling/tables/studies.js";

/** What is missing for a study's test; undefined if all its files are there and are those that are listed. */
export function missingStudy(name: StudyName, folder: string | undefined): string | undefined {
  if (folder === undefined) return "public tables of scaling studies: FOLIO_STUDIES names no folder";
  const { repository, commit, files }: PublicStudy = studies[name];
  for (const { path: file, sha256 } of files) {
    const at = path.join(folder, repository, file);
    if (!fs.existsSync(at)) return `${repository}/${file} at ${commit.slice(0, 7)}: it is not in FOLIO_STUDIES`;
    const found = createHash("sha256").update(fs.readFileSync(at)).digest("hex");
    // A file that is there but another one is a mistake, which must not pass as a test that could not be run.
    if (found !== sha256) throw new Error(`${at} is not the listed file: its SHA-256 is ${found}, not ${sha256}`);
  }
  return undefined;
}

const fileOf = (folder: string, name: StudyName, file: string = studies[name].files[0].path): string =>
  path.join(folder, studies[name].repository, file);

/** A configuration of Porian's: its points, and the exponent that the authors' own analysis gave. */
export interface PorianConfiguration {
  readonly points: readonly Point[];
  readonly theirs: number;
}

/** Porian's configurations by name, such as "rw,tuned,short,const,standard,val". */
export function porian(folder: string, python: string): ReadonlyMap<string, PorianConfiguration> {
  const script = path.join(import.meta.dirname, "convert.py");
  const text = execFileSync(python, [script, fileOf(folder, "porian")], { encoding: "utf8" });
  const found = new Map<string, { points: Point[]; theirs: number }>();
  for (const line of text.trim().split("\n").slice(1)) {
    const cells = line.split(",");
    const [c, n, loss, theirs] = cells.slice(6).map(Number) as [number, number, number, number];
    const key = cells.slice(0, 6).join();
    if (!found.has(key)) found.set(key, { points: [], theirs });
    found.get(key)!.points.push({ c, n, d: c / (6 * n), loss });
  }
  return found;
}

/** Muennighoff's runs, as the notebook printed them: name, N, D and U in billions, loss. */
export function muennighoff(folder: string): Point[] {
  const notebook = JSON.parse(fs.readFileSync(fileOf(folder, "muennighoff"), "utf8")) as {
    cells: { source: string[]; outputs?: { text?: string[] }[] }[];
  };
  // Two cells print runs; the one after the removal of outliers prints billions.
  const cell = notebook.cells.find(({ source }) => source.join("").includes("print(name, p/1e9, t/1e9, ut/1e9, loss)"));
  if (!cell) throw new Error("the notebook has no cell that prints the runs in billions");
  const text = (cell.outputs ?? []).flatMap(({ text: lines = [] }) => lines).join("");
  return text.split("\n").flatMap((line) => {
    const cells = line.split(" ");
    if (cells.length !== 5) return [];
    const [n, d, unique, loss] = cells.slice(1).map(Number) as [number, number, number, number];
    return [{ n: n * 1e9, d: d * 1e9, unique: unique * 1e9, loss }];
  });
}

/** Gadre's runs on RedPajama, in the order of the list: five to fit, two to predict. The loss is that on C4's validation. */
export function gadre(folder: string): Point[] {
  return studies.gadre.files.map(({ path: file }) => {
    const run = JSON.parse(fs.readFileSync(fileOf(folder, "gadre", file), "utf8")) as {
      hyperparameters: { params: number; tokens: number };
      results: { loss: number; val_data: string[] }[];
    };
    const result = run.results.find(({ val_data: [data = ""] }) => data.split("/").at(-2) === "c4_val");
    if (!result) throw new Error(`${file} has no loss on c4_val`);
    return { n: run.hyperparameters.params, d: run.hyperparameters.tokens, loss: result.loss };
  });
}

/** The file of Hoffmann's runs as Besiroglu read them off a figure, for `folio scaling fit`. */
export const besiroglu = (folder: string): string => fileOf(folder, "besiroglu");

/** The file of Step Law's dense models, for `folio scaling tune`. */
export const stepLawGrid = (folder: string): string => fileOf(folder, "steplaw");
