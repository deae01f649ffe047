/** What the Hugging Face hub answers for the repository of gpt2, for servers of tests: its commit, its files, their bytes. */
import { createHash } from "node:crypto";
import type { ServerResponse } from "node:http";

export const commit = "0123456789abcdef0123456789abcdef01234567";
export const repository = "openai-community/gpt2";
export const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
export const gitOid = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** Answers for a path of the hub. @returns false for a path that it does not know, which is then not answered */
export function answerHub(
  response: ServerResponse,
  pathname: string,
  files: Readonly<Record<string, Buffer>>,
  send: (bytes: Buffer, name: string) => void,
): boolean {
  const json = (value: unknown) =>
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  if (pathname === `/api/models/${repository}/revision/main`) {
    json({ _id: "1", id: repository, sha: commit, lastModified: 0 });
    return true;
  }
  if (pathname === `/api/models/${repository}/tree/${commit}`) {
    json(Object.entries(files).map(entry));
    return true;
  }
  const name = pathname.replace(`/${repository}/resolve/${commit}/`, "");
  if (files[name]) send(files[name], name);
  return files[name] !== undefined;
}

/** Large files are in LFS and have a SHA-256; small ones have git's checksum. */
function entry([name, bytes]: [string, Buffer]) {
  const own = { type: "file", path: name, size: bytes.length, oid: gitOid(bytes) };
  const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
  return name.endsWith(".safetensors") ? { ...own, lfs } : own;
}
