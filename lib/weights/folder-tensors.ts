/**
 * Reads the tensors of a Hugging Face folder: safetensors or pytorch_model.bin, in one file or in shards named by an
 * index.
 */
import fs from "node:fs";
import path from "node:path";
import * as z from "zod";
import type { HostTensors } from "../engine/host-tensors.js";
import { readRegularText, reasonOf } from "../host/regular-file.js";
import { readSafetensors } from "./safetensors.js";
import { openTorchFile, TorchTensor } from "./torch-file.js";

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });
const MAX_JSON_BYTES = 64 * 2 ** 20;

/** A JSON file of the folder. @throws {Error} if it is missing or not JSON */
export function readFolderJson(file: string): unknown {
  let text: string;
  try {
    text = readRegularText(file, MAX_JSON_BYTES);
  } catch (error) {
    throw new Error(
      `Cannot read ${file}: ${reasonOf(error)}; wanted a folder with config.json and model.safetensors.`,
      { cause: error },
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot read ${file}: it is not JSON; wanted a folder with config.json and model.safetensors.`, {
      cause: error,
    });
  }
}

/** The files named by an index of shards. @throws {Error} if one is outside the folder */
export function shardNames(index: string): string[] {
  const parsed = indexSchema.safeParse(readFolderJson(index));
  if (!parsed.success) throw new Error(`Cannot read ${index}: it has no weight_map.`);
  const names = [...new Set(Object.values(parsed.data.weight_map))];
  const stray = names.find((name) => name !== path.basename(name) || name.startsWith(".") || name.includes("\\"));
  if (stray !== undefined)
    throw new Error(`Cannot read ${index}: it names ${JSON.stringify(stray)}, which is not a file beside it.`);
  return names;
}

/**
 * The tensors of a folder by their names in the files.
 * @param only which tensors; the others are not read and may be of any type
 * @throws {Error} if files are missing or damaged
 */
export function readFolderTensors(folder: string, only: (name: string) => boolean): HostTensors {
  const found = weightFiles(folder).map((file) =>
    file.endsWith(".bin") ? readTorchTensors(file, only) : readSafetensors(file, { only }),
  );
  return Object.assign({}, ...found) as HostTensors;
}

/** One file, or the shards that an index names; safetensors first. */
function weightFiles(folder: string): string[] {
  const at = (name: string) => path.join(folder, name);
  for (const name of ["model.safetensors", "pytorch_model.bin"]) {
    if (fs.existsSync(at(name))) return [at(name)];
    const index = at(`${name}.index.json`);
    if (fs.existsSync(index)) return shardNames(index).map(at);
  }
  return [at("model.safetensors")];
}

function readTorchTensors(path: string, only: (name: string) => boolean): HostTensors {
  const file = openTorchFile(path);
  try {
    const { value } = file;
    if (!(value instanceof Map)) throw new Error(`Cannot read ${path}: it is not a dictionary of tensors.`);
    const tensors = [...(value as Map<unknown, unknown>)].flatMap(([name, tensor]) =>
      typeof name === "string" && tensor instanceof TorchTensor && only(name)
        ? [[name, file.read(tensor)] as const]
        : [],
    );
    return Object.fromEntries(tensors);
  } finally {
    file.close();
  }
}
