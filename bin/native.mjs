/**
 * Compiles Folio's own operations: the kernels once per variant, an instruction set that a processor may have, and
 * their registration with TensorFlow for any processor of the architecture. The variant is chosen when the library is
 * loaded.
 */
import fs from "node:fs";
import path from "node:path";

/**
 * @typedef {{ name: string, lanes: 4 | 8 | 16, flags: string[], needs: string }} NativeVariant
 * @typedef {(command: string, args: string[]) => Promise<void>} Run
 * @typedef {{ what: string, remedy: string }} Failure
 */

const avx512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mprefer-vector-width=512"];

/**
 * The variants from the one for every processor of the architecture to the best. None uses AVX-512's FP16, which is not
 * needed.
 * @type {Record<string, NativeVariant[]>}
 */
const byArchitecture = {
  x64: [
    { name: "plain", lanes: 4, flags: ["-march=x86-64"], needs: "" },
    { name: "avx2", lanes: 8, flags: ["-march=x86-64", "-mavx2", "-mfma"], needs: "GCC 8 or Clang 10" },
    { name: "avx512", lanes: 16, flags: ["-march=x86-64", ...avx512], needs: "GCC 8 or Clang 10" },
    {
      name: "avx512bf16",
      lanes: 16,
      flags: ["-march=x86-64", ...avx512, "-mavx512bf16"],
      needs: "GCC 10 or Clang 10",
    },
  ],
  arm64: [
    { name: "neon", lanes: 4, flags: ["-march=armv8-a"], needs: "" },
    { name: "neonbf16", lanes: 4, flags: ["-march=armv8.2-a+bf16"], needs: "GCC 10 or Clang 11" },
  ],
};

/** @returns {NativeVariant[]} */
export function nativeVariants(/** @type {string} */ arch = process.arch) {
  return byArchitecture[arch] ?? [{ name: "plain", lanes: 4, flags: [], needs: "" }];
}

/**
 * -O3 without -ffast-math keeps NaN and the order of sums. Contraction is set explicitly, because compilers' defaults
 * differ. The registration is compiled without optimization, since TensorFlow's headers take most of its time.
 */
const common = ["-std=c++17", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-w", "-fPIC"];

/** @param {NativeVariant} variant */
export function variantFlags(variant) {
  return [...common, "-O3", ...variant.flags, `-DFOLIO_VARIANT=${variant.name}`, `-DFOLIO_LANES=${variant.lanes}`];
}

/** @param {NativeVariant[]} variants the variants that are linked with it */
export function registeringFlags(variants, arch = process.arch) {
  const list = variants.map(({ name }) => `V(${name})`).join("");
  return [...common, "-O2", ...(nativeVariants(arch)[0]?.flags ?? []), `-DFOLIO_VARIANTS=${list}`];
}

/** @param {string} root */
export function nativeFolder(root) {
  return path.join(root, "lib", "engine", "native");
}

/**
 * All sources, in the order in which they are hashed; lib/engine/tensorflow/own-operations.ts does the same.
 * @param {string} root
 */
export function nativeSources(root) {
  const folder = nativeFolder(root);
  if (!fs.existsSync(folder)) return [];
  const files = fs.readdirSync(folder, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => /\.(h|cc)$/.test(file))
    .sort()
    .map((file) => path.join(folder, file));
}

/**
 * Compiles the variants into objects in a folder, two at a time. Variants that the compiler cannot make are left out,
 * with the reason.
 * @param {{ root: string, compiler: string[], folder: string, run: Run, variants?: NativeVariant[], say?: (what:
 * string) => void }} options
 * @returns {Promise<{ made: NativeVariant[], objects: string[], left: Record<string, string> }>}
 */
export async function compileVariants({ root, compiler, folder, run, variants = nativeVariants(), say = () => {} }) {
  const [command = "c++", ...first] = compiler;
  fs.mkdirSync(folder, { recursive: true });
  const empty = path.join(folder, "empty.cc");
  fs.writeFileSync(empty, "");
  const source = path.join(nativeFolder(root), "variant.cc");
  const objectOf = (/** @type {NativeVariant} */ { name }) => path.join(folder, `variant-${name}.o`);
  /** @type {Record<string, string>} */
  const left = {};
  await twoAtATime(variants, async (variant) => {
    try {
      await run(command, [...first, ...variantFlags(variant), "-fsyntax-only", empty]);
    } catch (error) {
      if (!variant.needs) throw error;
      left[variant.name] = `it needs ${variant.needs}`;
      return;
    }
    say(`kernels for ${variant.name}`);
    try {
      await run(command, [...first, ...variantFlags(variant), "-c", source, "-o", objectOf(variant)]);
    } catch (error) {
      if (!variant.needs) throw error; // the first variant is required
      const { what } = describeFailure(error, compiler);
      left[variant.name] = `${what}; it needs at least ${variant.needs}`;
    }
  });
  const made = variants.filter(({ name }) => !left[name]);
  return { made, objects: made.map(objectOf), left };
}

/**
 * @template T
 * @param {readonly T[]} items
 * @param {(item: T) => Promise<void>} work
 */
async function twoAtATime(items, work) {
  const waiting = [...items];
  const take = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all([take(), take()]);
}

/**
 * What went wrong with a compiler, and what to do, from the error and output of `runCommand`.
 * @param {unknown} error
 * @param {string[]} compiler
 * @returns {Failure}
 */
export function describeFailure(error, compiler) {
  const message = error instanceof Error ? error.message : String(error);
  const [first = "", ...rest] = message.split("\n");
  const said = rest.flatMap((line) => /^ *\| (.*)/.exec(line)?.[1] ?? []);
  const name = compiler.join(" ");
  const again = "then `npm run setup -- --retry`";
  const other = "choose another compiler with CXX (`CXX=clang++ npm run setup`), or install g++ 11 or newer";
  const killed = /was ended by SIGKILL|\bKilled\b|terminated program|out of memory|memory exhausted/i;
  if ([first, ...said].some((line) => killed.test(line))) {
    return {
      what: `${name} was killed by the system, most likely for lack of memory`,
      remedy: `free some memory, ${again}`,
    };
  }
  const crash = said.find((line) =>
    /internal compiler error|PLEASE submit a bug report|segmentation fault/i.test(line),
  );
  if (crash || /was ended by SIG/.test(first)) {
    return { what: `${name} crashed (${(crash ?? first).trim().replace(/:$/, "")})`, remedy: other };
  }
  // The compiler's first error says more than its command.
  return { what: `${name} cannot compile them (${(said[0] ?? first).trim()})`, remedy: other };
}
