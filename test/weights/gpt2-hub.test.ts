import fs from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readGpt2Folder } from "../../lib/weights/gpt2-folder.js";
import { gpt2Folder } from "../../lib/weights/gpt2-hub.js";
import { cutWhenWritten, temporaryFolder } from "../tiny-run.js";
import { answerHub, commit, gitOid, repository, sha256 } from "./hub.js";

const hf = fileURLToPath(new URL("../golden/gpt2/hf/", import.meta.url));
const folder = temporaryFolder();

let cacheDir: string;
let server: Server | undefined;
let requests: string[];
let files: Record<string, Buffer>;
/** Cuts the connection after so many bytes of a file; runs down. */
let cuts: number[];
let damage: string | undefined;
const environment = { ...process.env };

beforeEach(() => {
  delete process.env.FOLIO_DATA_DIR;
  delete process.env.HF_ENDPOINT;
  cacheDir = fs.mkdtempSync(path.join(folder, "cache-"));
  requests = [];
  cuts = [];
  damage = undefined;
  files = Object.fromEntries(
    ["config.json", "model.safetensors"].map((name) => [name, fs.readFileSync(path.join(hf, name))]),
  );
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  for (const name of ["FOLIO_DATA_DIR", "HF_ENDPOINT"]) {
    if (environment[name] === undefined) delete process.env[name];
    else process.env[name] = environment[name];
  }
});

/** A server with the parts of the hub's interface that are used. */
async function hub(): Promise<string> {
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://hub");
    requests.push(`${pathname}${request.headers.range ? ` ${request.headers.range}` : ""}`);
    const known = answerHub(response, pathname, files, (bytes, name) =>
      send(name === damage ? Buffer.from(bytes).fill(7, 100, 101) : bytes, request, response),
    );
    if (!known) response.writeHead(404, { "x-error-message": "Entry not found" }).end();
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function send(bytes: Buffer, { headers }: IncomingMessage, response: ServerResponse): void {
  const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
  const body = bytes.subarray(start);
  const range = start > 0 && { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  response.writeHead(start > 0 ? 206 : 200, { "content-length": body.length, ...range });
  const cut = bytes.length > 5000 ? cuts.shift() : undefined;
  if (cut === undefined) return void response.end(body);
  response.write(body.subarray(0, cut));
  const part = path.join(cacheDir, "models--openai-community--gpt2", "blobs", `${sha256(bytes)}.part`);
  cutWhenWritten(response, part, start + cut);
}

test("gpt2Folder() downloads a model into the cache in Python's layout, and uses no network the second time", async () => {
  const hubUrl = await hub();
  const seen = new Map<string, number>();
  const onProgress = ({ file, receivedBytes }: { file: string; receivedBytes: number }) =>
    seen.set(file, receivedBytes);
  const found = await gpt2Folder("gpt2", { hubUrl, cacheDir, onProgress });
  expect(found).toBe(path.join(cacheDir, "models--openai-community--gpt2", "snapshots", commit));
  expect(readGpt2Folder(found)).toEqual(readGpt2Folder(hf));
  expect(Object.fromEntries(seen)).toEqual(
    Object.fromEntries(Object.entries(files).map(([name, b]) => [name, b.length])),
  );
  const cache = path.join(found, "..", "..");
  expect(fs.readFileSync(path.join(cache, "refs", "main"), "utf8")).toBe(commit);
  expect(fs.readdirSync(path.join(cache, "blobs")).sort()).toEqual(
    [gitOid(files["config.json"]!), sha256(files["model.safetensors"]!)].sort(),
  );
  expect(fs.readlinkSync(path.join(found, "config.json"))).toBe(
    path.join("..", "..", "blobs", gitOid(files["config.json"]!)),
  );
  const asked = requests.length;
  expect(await gpt2Folder("gpt2", { hubUrl: "http://127.0.0.1:2", cacheDir })).toBe(found);
  expect(await gpt2Folder("gpt2", { hubUrl: "http://127.0.0.1:2", cacheDir, revision: commit })).toBe(found);
  expect(requests).toHaveLength(asked);
});

test("gpt2Folder() continues after a closed connection, and after a killed process", async () => {
  const hubUrl = await hub();
  cuts = [10_000, 10_000];
  const blobs = path.join(cacheDir, "models--openai-community--gpt2", "blobs");
  fs.mkdirSync(blobs, { recursive: true });
  const weights = files["model.safetensors"]!;
  fs.writeFileSync(path.join(blobs, `${sha256(weights)}.part`), weights.subarray(0, 5_000));
  const found = await gpt2Folder("gpt2", { hubUrl, cacheDir });
  expect(fs.readFileSync(path.join(found, "model.safetensors")).equals(weights)).toBe(true);
  const ranges = requests.filter((request) => request.includes("bytes=")).map((request) => request.split("bytes=")[1]);
  expect(ranges).toEqual(["5000-", "15000-", "25000-"]);
});

test("gpt2Folder() discards a file whose checksum differs from the hub's, large or small", async () => {
  const hubUrl = await hub();
  for (const [name, message] of [
    ["model.safetensors", `wanted ${sha256(files["model.safetensors"]!)}. It was deleted`],
    ["config.json", `wanted ${gitOid(files["config.json"]!)}. It was deleted`],
  ] as const) {
    fs.rmSync(cacheDir, { recursive: true });
    damage = name;
    await expect(gpt2Folder("gpt2", { hubUrl, cacheDir })).rejects.toThrow(message);
  }
  damage = undefined;
  expect(readGpt2Folder(await gpt2Folder("gpt2", { hubUrl, cacheDir }))).toEqual(readGpt2Folder(hf));
});

test("gpt2Folder() fetches the shards that an index names", async () => {
  const shard = "model-00001-of-00001.safetensors";
  const index = { weight_map: { "wte.weight": shard, "wpe.weight": shard } };
  files = {
    "config.json": files["config.json"]!,
    [shard]: files["model.safetensors"]!,
    "model.safetensors.index.json": Buffer.from(JSON.stringify(index)),
  };
  const hubUrl = await hub();
  const found = await gpt2Folder("gpt2", { hubUrl, cacheDir });
  expect(fs.readdirSync(found).sort()).toEqual(Object.keys(files).sort());
  expect(readGpt2Folder(found)).toEqual(readGpt2Folder(hf));
  // A cache that lacks a shard, or has nothing but the configuration, is not whole.
  for (const lacking of [[shard], [shard, "model.safetensors.index.json"]]) {
    for (const name of lacking) fs.rmSync(path.join(found, name));
    expect(await gpt2Folder("gpt2", { hubUrl, cacheDir })).toBe(found);
    expect(readGpt2Folder(found)).toEqual(readGpt2Folder(hf));
  }
});

test("gpt2Folder() uses the mirror that HF_ENDPOINT names, and looks into FOLIO_DATA_DIR first", async () => {
  process.env.HF_ENDPOINT = `${await hub()}/`;
  await gpt2Folder("gpt2", { cacheDir });
  expect(requests[0]).toBe(`/api/models/${repository}/revision/main`);
  process.env.FOLIO_DATA_DIR = path.join(cacheDir, "offered");
  fs.cpSync(hf, path.join(cacheDir, "offered", "gpt2"), { recursive: true });
  expect(await gpt2Folder("gpt2", { cacheDir })).toBe(path.join(cacheDir, "offered", "gpt2"));
});

test("gpt2Folder() reports a hub that names files outside the folder, lacks files, or does not know the model", async () => {
  const hubUrl = await hub();
  const config = files["config.json"]!;
  files = { "config.json": config };
  await expect(gpt2Folder("gpt2", { hubUrl, cacheDir })).rejects.toThrow(
    `its commit ${commit} has no model.safetensors`,
  );
  const index = Buffer.from(JSON.stringify({ weight_map: { a: "../../x" } }));
  files = { "config.json": config, "model.safetensors.index.json": index };
  await expect(gpt2Folder("gpt2", { hubUrl, cacheDir })).rejects.toThrow(
    'it names "../../x", which is not a file beside it',
  );
  await expect(gpt2Folder("gpt2-xl", { hubUrl, cacheDir })).rejects.toThrow(
    `Cannot ask ${hubUrl} for openai-community/gpt2-xl: it answers 404. Check the network`,
  );
});

test("gpt2Folder() stops at a signal, and continues next time", async () => {
  const hubUrl = await hub();
  const stop = new AbortController();
  cuts = [10_000];
  const onProgress = ({ file }: { file: string }) => file === "model.safetensors" && stop.abort(new Error("enough"));
  await expect(gpt2Folder("gpt2", { hubUrl, cacheDir, onProgress, signal: stop.signal })).rejects.toThrow("enough");
  cuts = [];
  expect(readGpt2Folder(await gpt2Folder("gpt2", { hubUrl, cacheDir }))).toEqual(readGpt2Folder(hf));
});

test("gpt2Folder() gives up on an endless list of files", async () => {
  let pages = 0;
  server = createServer((request, response) => {
    const url = new URL(request.url!, "http://hub");
    const json = (value: unknown, headers = {}) =>
      response.writeHead(200, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
    if (url.pathname.includes("/revision/")) return json({ _id: "1", id: repository, sha: commit, lastModified: 0 });
    const page = pages++;
    const link = `<http://${request.headers.host}${url.pathname}?cursor=${page}>; rel="next"`;
    const some = Array.from({ length: 500 }, (_, i) => ({ type: "file", path: `f-${page}-${i}`, size: 1, oid: "0" }));
    return json(some, { link });
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const hubUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(gpt2Folder("gpt2", { hubUrl, cacheDir })).rejects.toThrow(
    "its list of files is too long (more than 10000)",
  );
  expect(pages).toBeLessThan(30);
});
