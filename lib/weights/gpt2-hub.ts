/**
 * Downloads GPT-2's four sizes from the Hugging Face hub into the cache shared with Python's libraries.
 * @huggingface/hub lists a repository's files; host/download.ts downloads them, since, unlike the hub's own package, it
 * resumes and verifies downloads. Files in the cache or in FOLIO_DATA_DIR need no network. Shown in notebook 05-gpt2.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { getHFHubCachePath, getRepoFolderName, type ListFileEntry, listFiles, modelInfo } from "@huggingface/hub";
import { type DownloadProgress, fetchFile } from "../host/download.js";
import { readRegularFile, readRegularText } from "../host/regular-file.js";
import { shardNames } from "./folder-tensors.js";
import type { Gpt2Name } from "./gpt2-folder.js";

export interface HubOptions {
  /** A branch, tag or commit; default `main`. */
  readonly revision?: string;
  /** URL of the hub or a mirror; default HF_ENDPOINT, else https://huggingface.co. */
  readonly hubUrl?: string;
  /** Default HF_HUB_CACHE, else from HF_HOME, else ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  readonly onProgress?: (progress: DownloadProgress & { file: string }) => void;
  readonly signal?: AbortSignal;
}

/**
 * The folder of one of GPT-2's sizes: the one of that name in FOLIO_DATA_DIR, else in the cache, else downloaded there.
 * An interrupted download resumes, and every file is checked against the hub's checksum.
 * @throws {Error} if it is not found locally, and the hub cannot be reached or sends something else
 */
export async function gpt2Folder(name: Gpt2Name, options: HubOptions = {}): Promise<string> {
  const offered = process.env.FOLIO_DATA_DIR && path.join(process.env.FOLIO_DATA_DIR, name);
  if (offered && isWhole(offered)) return offered;
  const { revision = "main" } = options;
  const repository = `openai-community/${name}`;
  const cache = path.join(
    options.cacheDir ?? getHFHubCachePath(),
    getRepoFolderName({ type: "model", name: repository }),
  );
  const cached = path.join(cache, "snapshots", commitOf(cache, revision));
  if (isWhole(cached)) return cached;
  return await download(repository, cache, { ...options, revision });
}

/** The commit of a branch or tag in the cache; a commit stands for itself. */
function commitOf(cache: string, revision: string): string {
  const ref = path.join(cache, "refs", revision);
  try {
    const commit = readRegularText(ref).trim();
    return isCommit(commit) ? commit : revision;
  } catch {
    return revision;
  }
}

const isCommit = (text: string) => /^[\da-f]{40}$/.test(text);

/** A limit; model repositories have tens of files. */
const MOST_FILES = 10_000;

const CONFIG = "config.json";
const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** Whether a folder has all files of a model. */
function isWhole(folder: string): boolean {
  const has = (name: string) => fs.existsSync(path.join(folder, name));
  if (!has(CONFIG)) return false;
  return has(WEIGHTS) || (has(INDEX) && shardNames(path.join(folder, INDEX)).every(has));
}

interface Source {
  readonly repository: string;
  readonly hubUrl: string;
  readonly commit: string;
  readonly cache: string;
  readonly options: HubOptions;
}

async function download(
  repository: string,
  cache: string,
  options: HubOptions & { revision: string },
): Promise<string> {
  const { revision } = options;
  const hubUrl = (options.hubUrl ?? (process.env.HF_ENDPOINT || "https://huggingface.co")).replace(/\/+$/, "");
  const { commit, files } = await listing({ repository, hubUrl, revision, signal: options.signal });
  const source: Source = { repository, hubUrl, commit, cache, options };
  const fetched = async (name: string) => await fetchEntry(source, files.get(name) ?? missing(source, name));
  await fetched(CONFIG);
  if (files.has(WEIGHTS) || !files.has(INDEX)) await fetched(WEIGHTS);
  else for (const shard of shardNames(await fetched(INDEX))) await fetched(shard);
  if (revision !== commit) {
    const ref = path.join(cache, "refs", revision);
    fs.mkdirSync(path.dirname(ref), { recursive: true });
    fs.writeFileSync(ref, commit);
  }
  return path.join(cache, "snapshots", commit);
}

function missing({ repository, hubUrl, commit }: Source, name: string): never {
  throw new Error(`Cannot download ${repository} from ${hubUrl}: its commit ${commit} has no ${name}.`);
}

/** The files on the hub at a revision. */
async function listing({
  repository,
  hubUrl,
  revision,
  signal,
}: {
  repository: string;
  hubUrl: string;
  revision: string;
  signal: AbortSignal | undefined;
}): Promise<{ commit: string; files: ReadonlyMap<string, ListFileEntry> }> {
  const silence = AbortSignal.timeout(30_000);
  const patient: typeof fetch = (url, init) =>
    fetch(url, { ...init, signal: signal ? AbortSignal.any([signal, silence]) : silence });
  try {
    const asked = { hubUrl, fetch: patient };
    const { sha } = await modelInfo({ name: repository, revision, additionalFields: ["sha"], ...asked });
    if (!isCommit(sha)) throw new Error(`it reports no commit for ${revision}`);
    const files = new Map<string, ListFileEntry>();
    for await (const file of listFiles({ repo: { type: "model", name: repository }, revision: sha, ...asked })) {
      if (file.type === "file") files.set(file.path, file);
      if (files.size > MOST_FILES) throw new Error(`its list of files is too long (more than ${MOST_FILES})`);
    }
    return { commit: sha, files };
  } catch (error) {
    signal?.throwIfAborted();
    const { message, cause, statusCode } = error as Error & { cause?: Error; statusCode?: number };
    const found = statusCode ? `it answers ${statusCode}` : (cause?.message ?? message);
    throw new Error(
      `Cannot ask ${hubUrl} for ${repository}: ${found}. Check the network, or set HF_ENDPOINT to a mirror; a command that takes a model takes the folder of a copy, too.`,
      { cause: error },
    );
  }
}

/**
 * Downloads a file into the cache with Python's layout: a blob named by its checksum, and a link with the file's name.
 */
async function fetchEntry(
  { repository, hubUrl, commit, cache, options }: Source,
  entry: ListFileEntry,
): Promise<string> {
  const name = entry.path;
  const checksum = entry.lfs?.oid ?? entry.oid ?? "";
  if (!/^([\da-f]{64}|[\da-f]{40})$/.test(checksum) || name !== path.basename(name) || name.startsWith(".")) {
    throw new Error(
      `Cannot download ${repository} from ${hubUrl}: its list of files is damaged at ${JSON.stringify(name)}.`,
    );
  }
  const [blob, link] = [path.join(cache, "blobs", checksum), path.join(cache, "snapshots", commit, name)];
  if (fs.existsSync(link)) return link;
  if (!fs.existsSync(blob)) {
    const { signal, onProgress } = options;
    await fetchFile(`${hubUrl}/${repository}/resolve/${commit}/${name}`, blob, {
      ...(entry.lfs ? { sha256: checksum } : {}),
      ...(entry.size > 0 ? { maxBytes: entry.size } : {}),
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress: (progress) => onProgress({ ...progress, file: name }) } : {}),
    });
    if (!entry.lfs) checkGitBlob(blob, checksum, `${repository}/${name}`);
  }
  fs.mkdirSync(path.dirname(link), { recursive: true });
  try {
    fs.symlinkSync(path.relative(path.dirname(link), blob), link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") fs.copyFileSync(blob, link); // if links are not allowed
  }
  return link;
}

/** Small files have git's checksum instead of a SHA-256. */
function checkGitBlob(file: string, checksum: string, name: string): void {
  const bytes = readRegularFile(file);
  const found = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  if (found === checksum) return;
  fs.rmSync(file);
  throw new Error(
    `Cannot download ${name}: the file that arrived has git's checksum ${found}; wanted ${checksum}. It was deleted: it is another file or was changed on the way.`,
  );
}
