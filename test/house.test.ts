import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { faults, type Law, readHouse } from "./house.js";

const law: Law = {
  floors: [
    ["lib/host"],
    ["lib/settings"],
    ["lib/charts", "lib/data/tokenizers", "lib/engine"],
    ["lib/data"],
    ["lib/data/prepare", "lib/model"],
    ["lib/weights"],
    ["lib/runs"],
    ["lib/train", "lib/sample"],
    ["lib/inspect"],
    ["lib/bench", "lib/launch"],
    ["lib/check"],
    ["lib/notebook"],
    ["lib/index.ts"],
    // The files beside the folders in scaling are public modules; each exports the contents of a folder.
    ["scaling"],
    ["lib/cli"],
  ],
  roomSize: 14,
  never: [
    { from: "lib", to: "scaling/", but: ["lib/cli"] },
    { from: "lib", to: "configs/", but: ["lib/cli"] },
    { from: "lib", to: "data/", but: ["lib/cli"] },
    { from: "lib", to: "notebooks/" },
    { from: "lib", to: "tslab" },
    { from: "lib", to: "@tensorflow/tfjs-node", but: ["lib/engine"] },
    { from: "lib", to: "preact", but: ["lib/inspect"] },
    { from: "lib", to: "koffi", but: ["lib/engine", "lib/host/folder-lock.ts"] },
    { from: "scaling", to: "@tensorflow/" },
    { from: "scaling", to: "koffi" },
  ],
  browser: {
    rooms: [
      "lib/model/model.ts",
      "lib/model/functional.ts",
      "lib/train/optimizers",
      "lib/sample/next-token.ts",
      "lib/inspect/page",
    ],
    packages: ["@tensorflow/tfjs-core", "preact", "preact/hooks"],
  },
};

/** Inside scaling: points, laws, fits, then plans, questions and figures, then sweeps. */
const scalingLaw: Law = {
  ...law,
  floors: [["scaling/fit"], ["scaling/planning", "scaling/questions", "scaling/figures"], ["scaling/sweep"]],
  never: [],
  browser: { rooms: [], packages: [] },
};

const root = path.join(import.meta.dirname, "..");

describe("the folders", () => {
  test("import in one direction, without cycles, and none has too many files", () => {
    expect(faults(readHouse(root, ["lib", "scaling"]), law)).toEqual([]);
  });

  test("of scaling are layers: fits, then plans, questions and figures, then sweeps", () => {
    const rooms = ["fit", "planning", "questions", "figures", "sweep"].map((room) => `scaling/${room}`);
    expect(faults(readHouse(root, rooms), scalingLaw)).toEqual([]);
  });
});

describe("the checker", () => {
  const small: Law = {
    floors: [["lib/ground"], ["lib/left", "lib/right"], ["lib/top"]],
    roomSize: 2,
    never: [{ from: "lib", to: "koffi", but: ["lib/ground"] }],
    browser: { rooms: ["lib/left"], packages: ["@tensorflow/tfjs-core"] },
  };
  const standing = {
    "lib/ground/a.ts": 'import koffi from "koffi";',
    "lib/left/b.ts": 'import * as tf from "@tensorflow/tfjs-core";\nimport type { A } from "../ground/a.js";',
    "lib/right/c.ts": 'import { a } from "../ground/a.js";',
    "lib/top/d.ts": 'import { b } from "../left/b.js";\nexport const c = () => import("../right/c.js");',
  };

  /** The faults of a small example with some files changed or added. */
  function faultsWith(changes: Readonly<Record<string, string>>): string[] {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-house-"));
    onTestFinished(() => fs.rmSync(folder, { recursive: true }));
    for (const [file, text] of Object.entries({ ...standing, ...changes })) {
      fs.mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
      fs.writeFileSync(path.join(folder, file), text);
    }
    return faults(readHouse(folder, ["lib"]), small);
  }

  test("finds no fault in a valid example", () => {
    expect(faultsWith({})).toEqual([]);
  });

  test.each([
    ["import", 'import { d } from "../top/d.js";'],
    ["import of a type", 'import type { D } from "../top/d.js";'],
    ["import of a type within an import", 'import { type D } from "../top/d.js";'],
    ["export", 'export { d } from "../top/d.js";'],
    ["import while it runs", 'export const d = () => import("../top/d.js");'],
    ["type's import", 'export type D = import("../top/d.js").D;'],
  ])("sees an arrow that was turned round: an %s", (_, text) => {
    expect(faultsWith({ "lib/right/c.ts": text })).toContain(
      "lib/right/c.ts imports lib/top/d.ts: lib/right may not know lib/top",
    );
  });

  test("finds a new file that imports from a folder that it must not use", () => {
    expect(faultsWith({ "lib/left/new.ts": 'import { c } from "../right/c.js";' })).toContain(
      "lib/left/new.ts imports lib/right/c.ts: lib/left may not know lib/right",
    );
  });

  test("finds an import cycle within a folder, also of types", () => {
    expect(
      faultsWith({ "lib/right/c.ts": 'import "./e.js";', "lib/right/e.ts": 'import type { C } from "./c.js";' }),
    ).toEqual(["a circle: lib/right/c.ts → lib/right/e.ts → lib/right/c.ts"]);
  });

  test("finds a folder with too many files, and a file outside all folders", () => {
    const found = faultsWith({ "lib/top/e.ts": "", "lib/top/f.ts": "", "lib/attic/g.ts": "" });
    expect(found).toEqual(["lib/attic/g.ts stands in no room of the law", "lib/top holds 3 files; 2 are the most"]);
  });

  test("finds an import of a package reserved for one folder, and indirect imports that do not run in a browser", () => {
    expect(faultsWith({ "lib/right/c.ts": 'import koffi from "koffi";' })).toEqual([
      "lib/right/c.ts may not import koffi",
    ]);
    expect(faultsWith({ "lib/left/b.ts": 'import { a } from "../ground/a.js";' })).toEqual([
      "lib/left/b.ts → lib/ground/a.ts → koffi: not in a browser",
    ]);
  });
});
