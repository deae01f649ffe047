/** A study's file is taken from the given folder, else downloaded once, and is always the listed one. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type PublicStudy, readTable, studies, studyFile } from "../../../scaling/read-points.js";

const text = "n,d,loss\n1e6,2e7,3.5\n2e6,4e7,3.25\n";
const study: PublicStudy = {
  what: "two runs",
  repository: "somebody/runs",
  commit: "0123456789abcdef",
  files: [
    { path: "data/readme.txt", sha256: "" },
    { path: "data/d=96 runs.csv", sha256: createHash("sha256").update(text).digest("hex") },
  ],
};
const file = "data/d=96 runs.csv";

let folder: string;
let server: Server;
let requests: string[];
let answer: string;

beforeEach(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-study-"));
  [requests, answer] = [[], text];
  server = createServer(({ url = "" }, response) => {
    requests.push(url);
    response.end(answer);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(() => {
  server.close();
  fs.rmSync(folder, { recursive: true });
});

const options = () => ({
  ...{ file, folder: path.join(folder, "given"), cacheDir: path.join(folder, "cache") },
  host: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
});

test("a missing file is downloaded from the listed commit, once", async () => {
  const first = await studyFile(study, options());
  expect((await readTable(first)).numRows()).toBe(2);
  expect(first.startsWith(path.join(folder, "cache"))).toBe(true);
  expect(await studyFile(study, options())).toBe(first);
  expect(requests).toEqual(["/somebody/runs/0123456789abcdef/data/d=96%20runs.csv"]);
});

test("a file in the folder is taken from there, and one that is not the listed one is refused", async () => {
  const given = path.join(options().folder, "somebody/runs/data");
  fs.mkdirSync(given, { recursive: true });
  fs.writeFileSync(path.join(given, "d=96 runs.csv"), text);
  expect(await studyFile(study, options())).toBe(path.join(given, "d=96 runs.csv"));
  fs.appendFileSync(path.join(given, "d=96 runs.csv"), "3e6,6e7,1\n");
  await expect(studyFile(study, options())).rejects.toThrow("it is not the listed file");
  expect(requests).toEqual([]);
});

test("another file from the server leaves nothing behind; an unknown name is told with those that are there", async () => {
  answer = "n,d,loss\n1,1,1\n";
  await expect(studyFile(study, options())).rejects.toThrow(/the file that arrived has SHA-256 \w+; wanted/);
  const left = fs.readdirSync(path.join(folder, "cache"), { recursive: true, encoding: "utf8" });
  expect(left.filter((name) => name.includes("runs.csv"))).toEqual([]);
  await expect(studyFile(study, { ...options(), file: "runs.csv" })).rejects.toThrow(
    "Cannot find runs.csv in somebody/runs: the list of its files has data/readme.txt, data/d=96 runs.csv.",
  );
});

test("listed studies have a commit and checksums", () => {
  for (const { commit, files } of Object.values(studies)) {
    expect(commit).toMatch(/^[\da-f]{40}$/);
    for (const { sha256 } of files) expect(sha256).toMatch(/^[\da-f]{64}$/);
  }
});
