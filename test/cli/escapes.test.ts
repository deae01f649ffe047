/** Untrusted names cannot control the terminal or fill it. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { printSamples } from "../../lib/cli/sample.js";
import { ownEscapes, printable, printableIo, readable } from "../../lib/cli/shared/output.js";
import { styled, table } from "../../lib/cli/shared/terminal.js";
import { temporaryFolder } from "../tiny-run.js";

const folder = temporaryFolder();
const title = "\x1b]0;OWNED\x07";

async function folio(argv: string[], isTTY = false) {
  let [out, err] = ["", ""];
  const stdout = { isTTY, write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { isTTY, write: (more: string) => (err += more) } });
  return { code, out, err };
}

/** What must not be sent to a terminal, except for Folio's colours and progress line. */
const obeyed = (text: string) =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the test searches for them
  text.replace(/\x1b\[(?:\d+m|K)|\r(?=\x1b\[K)/g, "").match(/[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g);

describe("printable()", () => {
  test("shows control and invisible characters as JSON escapes", () => {
    expect(printable("a\tb\n")).toBe("a\tb\n");
    expect(printable(`x${title}`)).toBe("x\\u001b]0;OWNED\\u0007");
    expect(printable("\u009b2J\u202ecod.exe\r\n\x7f")).toBe("\\u009b2J\\u202ecod.exe\\u000d\n\\u007f");
    expect(printable("né 文書 😀 \ud800")).toBe("né 文書 😀 \\ud800");
    const json = JSON.stringify({ name: "\u009b\u{e0041}\u202e", next: "\x1b" });
    expect(JSON.parse(printable(json))).toEqual(JSON.parse(json));
  });

  test("keeps Folio's own escapes, but not similar ones", () => {
    const before = process.env.NO_COLOR;
    delete process.env.NO_COLOR;
    const own = styled({ isTTY: true, write: () => {} }, "red", "\x1b[31mname");
    if (before !== undefined) process.env.NO_COLOR = before;
    expect(printable(own)).toBe("\x1b[31m\\u001b[31mname\x1b[39m");
    expect(printable(ownEscapes("\r\x1b[K"))).toBe("\r\x1b[K");
  });

  test("the text output of a command is unchanged in a file and printable on a terminal", async () => {
    for (const isTTY of [false, true]) {
      let out = "";
      const io = printableIo({ stdout: { isTTY, write: (more) => (out += more) }, stderr: { write: () => {} } });
      const one = async function* () {
        yield { sample: 0, token: 1, text: title, place: 0 };
      };
      await printSamples(one() as never, { numSamples: 1 }, "", io);
      expect(out.includes("\x1b")).toBe(!isTTY);
    }
  });
});

describe("text quoted from elsewhere", () => {
  test("is cut in the middle if it is too long to read", () => {
    const message = readable(`Cannot read ${"x".repeat(100_000)}: it is missing`);
    expect(message.length).toBeLessThan(500);
    expect(message).toMatch(/^Cannot read x+ … 99601 more … x+: it is missing$/);
    expect(readable("word ".repeat(10_000)).length).toBeLessThan(2100);
    expect(table(["run"], [["x".repeat(10_000)], ["a\nb"]]).every((line) => line.length < 160)).toBe(true);
  });

  test.each([false, true])("is escaped in the output of every command (terminal: %s)", async (isTTY) => {
    const run = path.join(folder, `run${title}`);
    fs.mkdirSync(run, { recursive: true });
    fs.writeFileSync(path.join(run, "log.jsonl"), '{"kind":"x"}\n');
    fs.writeFileSync(path.join(run, "config.json"), JSON.stringify({ [`n${title}`]: 1, dataset: title }));
    const settings = path.join(folder, "bad.json");
    fs.writeFileSync(settings, JSON.stringify({ [`k\u202e${title}`]: 1 }));
    const cell = path.join(folder, "cell.csv");
    fs.writeFileSync(cell, `n,d,loss\n1,2,${title}\n`);
    const lines = [
      ["runs", folder],
      ["runs", folder, "--json"],
      ["train", settings],
      ["train", `--dataset=${title}`],
      ["sample", `--out_dir=${run}`],
      ["eval", `--init_from=${run}`],
      ["prepare", `x${title}`],
      ["export", `--init_from=${run}`, `--to=${path.join(folder, "to")}`],
      ["scaling", "fit", cell, "--n=n", "--d=d", "--loss=loss"],
      [title],
    ];
    for (const argv of lines) {
      const { out, err } = await folio(argv, isTTY);
      expect([argv[0], obeyed(out + err)]).toEqual([argv[0], null]);
      expect(out + err).not.toBe("");
    }
  });
});
