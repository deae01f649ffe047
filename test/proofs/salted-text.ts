/** Makes a text of any size from a small one, without exact repetitions: each paragraph contains a different number. */
import fs from "node:fs";
import path from "node:path";
import { root } from "./proof.js";

/** Writes `bytes` bytes or a few more. @returns the number written */
export function writeSaltedText(filePath: string, bytes: number): number {
  const folder = process.env.FOLIO_DATA_DIR ?? path.join(root, "..", "shared", "data");
  const novels = path.join(folder, "novels.txt");
  const source = fs.existsSync(novels) ? novels : path.join(folder, "tinyshakespeare.txt");
  const paragraphs = fs.readFileSync(source, "utf8").split("\n\n");
  const descriptor = fs.openSync(filePath, "w");
  let written = 0;
  for (let salt = 0; written < bytes; ) {
    const part: string[] = [];
    for (let index = 0; index < 4000; index++, salt++) {
      part.push(`${paragraphs[salt % paragraphs.length]} w${(salt * 2_654_435_761) % 4_294_967_296}`);
    }
    written += fs.writeSync(descriptor, `${part.join("\n\n")}\n\n`);
  }
  fs.closeSync(descriptor);
  return written;
}
