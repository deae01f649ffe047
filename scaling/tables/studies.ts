/**
 * Public tables of scaling studies: the repository, commit, paths and checksums of each. The tables are their authors', so
 * they are not part of Folio. `studyFile` takes a file from the folder FOLIO_STUDIES, or downloads it once. Notebook
 * 21-read-a-study reads one.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { fromBin } from "../../lib/engine/probes.js";
import { fetchFile, fileSha256 } from "../../lib/host/download.js";

/** A file of a study. */
export interface StudyFile {
  /** In the repository. */
  readonly path: string;
  /** In hexadecimal. */
  readonly sha256: string;
}

/** The public files of a study, at one commit of a repository on GitHub. */
export interface PublicStudy {
  readonly what: string;
  /** OWNER/REPOSITORY. */
  readonly repository: string;
  readonly commit: string;
  readonly files: readonly StudyFile[];
}

/** The studies whose values Folio's tests and notebooks check. */
export const studies = {
  porian: {
    what: "Porian 2024, losses at each budget by configuration, after the authors' interpolation in compute",
    repository: "formll/resolving-scaling-law-discrepancies",
    commit: "0dc60d91b8a525858a3067fc9e4a46ff5374cc6f",
    files: [
      { path: "data/summary_df.pickle.xz", sha256: "afbf07ec92d23182f56a44dd43599f2a7e9716fd70492fbc0a35f6093272b74f" },
    ],
  },
  muennighoff: {
    what: "Muennighoff 2023, 182 runs with repeated data, in the output of the notebook that fits them",
    repository: "huggingface/datablations",
    commit: "13701315b163f1c54642b94ad237b2699187c3ee",
    files: [
      {
        path: "utils/parametric_fit.ipynb",
        sha256: "6c65d270e70c944a9ac90f5f1213a4584e1ff9d6d2781cd86900663f4ab17db9",
      },
    ],
  },
  gadre: {
    what: "Gadre 2024, runs on RedPajama: the five that the law is fitted to, and the two that it predicts",
    repository: "mlfoundations/scaling",
    commit: "a003c4913793ac2ae7ef87b28ecb562955d026d5",
    files: [
      {
        path: "exp_data/models/rpj-d=96_l=8_h=4-1.0.json",
        sha256: "26a57687eeca30c6282a8b9e1d51b6e0e6558011c08a8b84e695aa33a74567ab",
      },
      {
        path: "exp_data/models/rpj-d=512_l=8_h=4-1.0.json",
        sha256: "ce2d8bb874a2bea92eb307fe360a6f3ccda6de51ef14659a0ea6346408579481",
      },
      {
        path: "exp_data/models/rpj-d=576_l=24_h=8-1.0.json",
        sha256: "ae44bcbd76ff41b9b25670577efd7f9548009bab45353f327d93e1b9ff6812b5",
      },
      {
        path: "exp_data/models/rpj-d=1024_l=24_h=8-1.0.json",
        sha256: "36fd4755d70b7bc892dab97bbd90cd908b13aab15c1e1a78d8d6b07bb8f8e840",
      },
      {
        path: "exp_data/models/rpj-d=96_l=8_h=4-16.0.json",
        sha256: "8b10ab3caf7bafef95b972fd3551a26807ac9d7824ab73eb5dcb8fdc60030a2b",
      },
      {
        path: "exp_data/models/rpj-open_lm_1b-32.0.json",
        sha256: "fe055b9c29dd3ad5d491f05a594a846c8c4692e1eb82cec81aacb371701168b4",
      },
      {
        path: "exp_data/models/rpj-open_lm_7b-1.0.json",
        sha256: "62f938a0be52065726bcd6af80446626204a2f3d1101f3ccc12271a8ae1a8a7c",
      },
    ],
  },
  besiroglu: {
    what: "Besiroglu 2024, 245 runs read off figure 4 of Hoffmann 2022",
    repository: "epoch-research/analyzing-chinchilla",
    commit: "92258837425e1b5f2851d624287f0120583a3d0e",
    files: [
      {
        path: "data/svg_extracted_data.csv",
        sha256: "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30",
      },
    ],
  },
  steplaw: {
    what: "Li 2025, Step Law: 1,911 dense models on grids of learning rates and batch sizes, with their smoothed losses",
    repository: "step-law/steplaw",
    commit: "32a8f4cc50247695fb56cc6c9117abdf67c97763",
    files: [
      { path: "data/dense_lr_bs_loss.csv", sha256: "9e46181076c04d450294d75dfe6f72adc416e231e154a07b337e378f9410002c" },
    ],
  },
} as const satisfies Readonly<Record<string, PublicStudy>>;

export type StudyName = keyof typeof studies;

export interface StudyFileOptions {
  /** The file's path in the repository; by default the study's first. */
  readonly file?: string;
  /** A folder with OWNER/REPOSITORY/PATH; by default the one that FOLIO_STUDIES names. */
  readonly folder?: string | undefined;
  /** Where downloads are kept; by default the folder studies in Folio's cache: .cache in a checkout, else the user's. */
  readonly cacheDir?: string;
  /** The host of files, or a mirror; by default https://raw.githubusercontent.com. */
  readonly host?: string;
}

/**
 * The path of a study's file on this machine: in the folder FOLIO_STUDIES if it is there, else in the cache, into which it is
 * downloaded if it is missing. Its checksum is always that of the list.
 * @throws {RangeError} if the study has no such file
 * @throws {Error} if the folder holds another file of this name, or the download fails; both messages name the file
 * @example
 * await readTable(await studyFile("besiroglu"));
 */
export async function studyFile(study: StudyName | PublicStudy, options: StudyFileOptions = {}): Promise<string> {
  const { repository, commit, files }: PublicStudy = typeof study === "string" ? studies[study] : study;
  const { file = files[0]?.path, folder = process.env.FOLIO_STUDIES } = options;
  const listed = files.find(({ path: name }) => name === file);
  if (!listed) {
    const there = files.map(({ path: name }) => name).join(", ");
    throw new RangeError(`Cannot find ${file} in ${repository}: the list of its files has ${there || "none"}.`);
  }
  const given = folder && path.join(folder, repository, listed.path);
  if (given && existsSync(given)) return await checked(given, listed);
  const host = (options.host ?? "https://raw.githubusercontent.com").replace(/\/+$/, "");
  const kept = path.join(options.cacheDir ?? (await defaultCache()), repository, listed.path);
  await fetchFile(`${host}/${repository}/${commit}/${listed.path}`, kept, { sha256: listed.sha256, maxBytes: 2 ** 30 });
  return kept;
}

/** @throws {Error} if the file is another one */
async function checked(file: string, { sha256 }: StudyFile): Promise<string> {
  const found = await fileSha256(file);
  if (found === sha256) return file;
  throw new Error(
    `Cannot use ${file}: it is not the listed file, its SHA-256 is ${found}, not ${sha256}. Put the listed one there, or remove it, and it is downloaded.`,
  );
}

/** Beside what set-up keeps. */
async function defaultCache(): Promise<string> {
  const { layout } = await fromBin<{ layout(): { cacheDir: string } }>("state.mjs");
  return path.join(layout().cacheDir, "studies");
}
