import { createHash } from "node:crypto";
import fs, { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { fetchFile } from "../../lib/host/download.js";
import { cutWhenWritten } from "../tiny-run.js";

const content = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 251));
const sha256 = createHash("sha256").update(content).digest("hex");

let folder: string;
let filePath: string;
let server: Server | undefined;
let requests: (string | undefined)[];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "folio-download-"));
  filePath = path.join(folder, "text.bin");
  requests = [];
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true });
});

/** A server on loopback that records the Range of each request. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  server = createServer((request, response) => {
    requests.push(request.headers.range);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/text.bin`;
}

/** Answers like a server with Range support; closes the connection after `cutAfter` bytes. */
function sendRange(request: IncomingMessage, response: ServerResponse, cutAfter = Number.POSITIVE_INFINITY): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  if (start >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const body = content.subarray(start);
  const range = start > 0 && { "content-range": `bytes ${start}-${content.length - 1}/${content.length}` };
  response.writeHead(start > 0 ? 206 : 200, { "content-length": body.length, ...range });
  if (body.length > cutAfter) {
    response.write(body.subarray(0, cutAfter));
    cutWhenWritten(response, `${filePath}.part`, start + cutAfter);
  } else response.end(body);
}

test("fetchFile() downloads, reports progress, and fetches nothing if the file is already right", async () => {
  const url = await serve((request, response) => sendRange(request, response));
  const seen: number[] = [];
  await fetchFile(url, filePath, { sha256, onProgress: ({ receivedBytes }) => seen.push(receivedBytes) });
  expect(readFileSync(filePath).equals(content)).toBe(true);
  expect(readdirSync(folder)).toEqual(["text.bin"]);
  expect(seen.at(-1)).toBe(content.length);
  await fetchFile(url, filePath, { sha256 });
  expect(requests).toHaveLength(1);
});

test("fetchFile() resumes a connection that is cut in the middle", async () => {
  const url = await serve((request, response) => sendRange(request, response, requests.length < 3 ? 30_000 : Infinity));
  await fetchFile(url, filePath, { sha256 });
  expect(readFileSync(filePath).equals(content)).toBe(true);
  expect(requests).toEqual([undefined, "bytes=30000-", "bytes=60000-"]);
});

test("fetchFile() continues the partial file of an earlier call", async () => {
  writeFileSync(`${filePath}.part`, content.subarray(0, 90_000));
  const url = await serve((request, response) => sendRange(request, response));
  await fetchFile(url, filePath, { sha256 });
  expect(requests).toEqual(["bytes=90000-"]);
  expect(readFileSync(filePath).equals(content)).toBe(true);
});

test("fetchFile() accepts a partial file that is complete, and starts over if it is of another file", async () => {
  const url = await serve((request, response) => sendRange(request, response));
  writeFileSync(`${filePath}.part`, content);
  await fetchFile(url, filePath, { sha256 });
  expect(requests).toEqual(["bytes=100000-"]);
  rmSync(filePath);
  writeFileSync(`${filePath}.part`, Buffer.alloc(50_000));
  await fetchFile(url, filePath, { sha256 });
  expect(requests.slice(1)).toEqual(["bytes=50000-", undefined]);
  rmSync(filePath);
  writeFileSync(`${filePath}.part`, Buffer.alloc(200_000));
  await fetchFile(url, filePath, { sha256 });
  expect(requests.slice(3)).toEqual(["bytes=200000-", undefined]);
  expect(readFileSync(filePath).equals(content)).toBe(true);
});

test("fetchFile() starts over with a server that does not resume", async () => {
  writeFileSync(`${filePath}.part`, content.subarray(0, 10));
  const url = await serve((_, response) => response.end(content));
  await fetchFile(url, filePath, { sha256 });
  expect(readFileSync(filePath).equals(content)).toBe(true);
});

test("fetchFile() refuses another file by its checksum and leaves the old one", async () => {
  writeFileSync(filePath, "old");
  const url = await serve((_, response) => response.end("<html>log in first</html>"));
  await expect(fetchFile(url, filePath, { sha256 })).rejects.toThrow(
    new RegExp(`the file that arrived has SHA-256 [\\da-f]{64}; wanted ${sha256}`),
  );
  expect(readFileSync(filePath, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["text.bin"]);
});

test("fetchFile() reports the server's answer, and retries only if that may help", async () => {
  const url = await serve((_, response) => response.writeHead(404).end("no"));
  await expect(fetchFile(url, filePath, { sha256 })).rejects.toThrow(
    /Cannot download http:.*text\.bin: the server answered 404 Not Found\. Check the URL/,
  );
  expect(requests).toHaveLength(1);
  server!.close();
  requests = [];
  const busy = await serve((request, response) =>
    requests.length < 3 ? response.writeHead(503).end() : sendRange(request, response),
  );
  await fetchFile(busy, filePath, { sha256 });
  expect(requests).toHaveLength(3);
  expect(existsSync(filePath)).toBe(true);
});

test("fetchFile() gives up after three cuts without a byte", async () => {
  const url = await serve((_, response) => response.destroy());
  await expect(fetchFile(url, filePath, { sha256 })).rejects.toThrow(/the connection failed \(.*\)\. Check the URL/);
  expect(requests).toHaveLength(3);
});

test("fetchFile() reports a missing server, an unknown host and an unsupported URL", async () => {
  const free = createTcpServer();
  await new Promise<void>((resolve) => free.listen(0, "127.0.0.1", resolve));
  const { port } = free.address() as AddressInfo;
  await new Promise((resolve) => free.close(resolve));
  await expect(fetchFile(`http://127.0.0.1:${port}/`, filePath, { sha256 })).rejects.toThrow(
    /the connection failed \(ECONNREFUSED.*give a local file as source/,
  );
  await expect(fetchFile("http://folio.invalid/", filePath, { attempts: 1 })).rejects.toThrow(/the connection failed/);
  await expect(fetchFile("ftp://example.org/x", filePath)).rejects.toThrow(/it is not an http or https URL/);
  await expect(fetchFile("text.txt", filePath)).rejects.toThrow(TypeError);
  expect(existsSync(filePath)).toBe(false);
});

test("fetchFile() does not wait forever for a silent server", async () => {
  const url = await serve(() => {});
  await expect(fetchFile(url, filePath, { stallMs: 50, attempts: 2 })).rejects.toThrow(/nothing arrived for 50 ms/);
  expect(requests.length).toBeLessThanOrEqual(2); // on a busy machine, some requests may not reach the server
});

test("fetchFile() stops on an abort and keeps the part for the next call", async () => {
  const url = await serve((request, response) => {
    if (requests.length > 1) return sendRange(request, response);
    response.writeHead(200, { "content-length": content.length });
    response.write(content.subarray(0, 40_000));
  });
  const controller = new AbortController();
  const stopped = fetchFile(url, filePath, {
    sha256,
    signal: controller.signal,
    onProgress: ({ receivedBytes }) => receivedBytes === 40_000 && controller.abort(new Error("stopped by the user")),
  });
  await expect(stopped).rejects.toThrow("stopped by the user");
  expect(existsSync(filePath)).toBe(false);
  await fetchFile(url, filePath, { sha256 });
  expect(requests).toEqual([undefined, "bytes=40000-"]);
  expect(readFileSync(filePath).equals(content)).toBe(true);
});

test("fetchFile() says that the disk is full, once", async () => {
  const url = await serve((request, response) => sendRange(request, response));
  const original = fs.writeSync;
  fs.writeSync = (() => {
    throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  }) as typeof fs.writeSync;
  syncBuiltinESMExports();
  try {
    await expect(fetchFile(url, filePath, { sha256 })).rejects.toThrow(/text\.bin\.part: the disk is full/);
  } finally {
    fs.writeSync = original;
    syncBuiltinESMExports();
  }
  expect(requests).toHaveLength(1);
  expect(existsSync(filePath)).toBe(false);
});

test("fetchFile() gives up on a file that is too long or endless", async () => {
  for (const { length, resumed } of [
    { length: content.length, resumed: 0 },
    { length: undefined, resumed: 0 },
    { length: undefined, resumed: 10 },
  ]) {
    const url = await serve((_, response) => {
      response.writeHead(200, length === undefined ? {} : { "content-length": length });
      const more = (): void => {
        while (!response.destroyed && response.write(content)) {}
        if (!response.destroyed) response.once("drain", more);
      };
      if (length === undefined) more();
      else response.end(content);
    });
    if (resumed > 0) writeFileSync(`${filePath}.part`, content.subarray(0, resumed));
    await expect(fetchFile(url, filePath, { sha256, maxBytes: 50_000 })).rejects.toThrow(
      `Cannot download ${url}: it is longer than the 50000 bytes that are accepted.`,
    );
    expect(readdirSync(folder)).toEqual([]);
    server?.closeAllConnections();
    server?.close();
  }
});
