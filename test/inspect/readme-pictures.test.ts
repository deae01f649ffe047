/** The README's pictures are what the library draws, and their alternative texts say what is in them. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { contentOf, drawPictures, lineOf } from "./readme-pictures.js";

describe("the README's pictures of views", async () => {
  const pictures = await drawPictures();

  test.each(pictures)("$file is what the library draws from the model that comes with it", ({ file, svg }) => {
    const [stored, drawn] = [fs.readFileSync(file, "utf8").trimEnd(), svg].map(contentOf);
    expect(drawn!.words).toBe(stored!.words);
    expect(drawn!.numbers).toHaveLength(stored!.numbers.length);
    // Processors round differently: by less than one of 255 steps of a colour, or a hundredth of a number.
    const off = drawn!.numbers.filter((x, i) => Math.abs(x - stored!.numbers[i]!) > Math.max(1, 0.01 * Math.abs(x)));
    expect(off).toEqual([]);
  });

  test.each(pictures)("$file has its alternative text in the README, with the picture's numbers", (picture) => {
    expect(fs.readFileSync("README.md", "utf8")).toContain(lineOf(picture));
  });

  test("there are no others", () => {
    const there = fs.readdirSync("test/inspect/pictures").map((name) => path.posix.join("test/inspect/pictures", name));
    expect(there.sort()).toEqual(pictures.map(({ file }) => file).sort());
  });

  test("in which a repeated name is copied, and colours differ by reader's scheme", () => {
    const [first, again] = [...pictures[0]!.alt.matchAll(/\(([\d.]+)/g)].map(([, number]) => Number(number));
    expect(first).toBeGreaterThan(3);
    expect(again).toBeLessThan(0.3);
    expect(Number(/(\d+) % on average/.exec(pictures[1]!.alt)![1])).toBeGreaterThan(60);
    for (const { svg } of pictures) expect(svg).toContain("prefers-color-scheme: dark");
  });
});
