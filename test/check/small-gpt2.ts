/** The small GPT-2 of test/golden/make-check.py, as the two files of a Hugging Face folder; and a hub that has it. */
import fs from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { float32 } from "../../lib/engine/host-tensors.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { writeGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { answerHub } from "../weights/hub.js";
import { documents, shape } from "./documents.mjs";

/** The far digits of sines, as make-check.py computes them. */
function valuesOf(name: string, size: number, number: number): Float32Array {
  const isNorm = name.includes("ln_");
  const [middle, scale] = isNorm ? [name.endsWith("weight") ? 1 : 0, 0.1] : [0, name.startsWith("wte") ? 0.5 : 0.3];
  return Float32Array.from({ length: size }, (_, index) => {
    const far = Math.sin((index + 1) * 12.9898 + number * 78.233) * 43758.5453;
    return middle + Math.fround(Math.fround(scale) * Math.fround(2 * (far - Math.floor(far)) - 1));
  });
}

/** config.json and model.safetensors. @param folder a new folder, in which they are written */
export function smallGpt2(folder: string): Record<string, Buffer> {
  const params = parameterSpecs({ ...shape, initStd: 0.02 }).map(({ name, shape }, number) => {
    const size = shape.reduce((product, axis) => product * axis, 1);
    return [name, float32(valuesOf(name, size, number), shape)] as const;
  });
  writeGpt2Folder(folder, { params: Object.fromEntries(params), model: shape, tokenizer: undefined });
  return Object.fromEntries(
    ["config.json", "model.safetensors"].map((name) => [name, fs.readFileSync(path.join(folder, name))]),
  );
}

/** OpenWebText's first file, with the documents of the test. */
const parquet = () =>
  Buffer.from(parquetWriteBuffer({ columnData: [{ name: "text", data: [...documents], type: "STRING" }] }));

export interface LocalHub {
  readonly url: string;
  /** The paths that were asked for. */
  readonly requests: readonly string[];
  close(): void;
}

/** A hub on this machine with gpt2 and OpenWebText's first file. */
export async function openHub(files: Readonly<Record<string, Buffer>>): Promise<LocalHub> {
  const text = parquet();
  const requests: string[] = [];
  const server: Server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://hub");
    requests.push(pathname);
    if (answerHub(response, pathname, files, (bytes) => response.end(bytes))) return;
    if (!pathname.endsWith("/plain_text/train-00000-of-00080.parquet")) return void response.writeHead(404).end();
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    if (from === undefined) return void response.writeHead(200, { "content-length": text.length }).end(text);
    const end = to ? Math.min(Number(to), text.length - 1) : text.length - 1;
    const body = text.subarray(Number(from), end + 1);
    response
      .writeHead(206, { "content-range": `bytes ${from}-${end}/${text.length}`, "content-length": body.length })
      .end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
