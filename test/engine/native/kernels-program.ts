/** Compiles kernels_test.cc with all variants of an architecture that the compiler supports, and with "wide". */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { compileVariants, type NativeVariant, nativeFolder, nativeVariants } from "../../../bin/native.mjs";
import { packageRoot } from "../../../lib/host/package.js";

export interface KernelsProgram {
  readonly program: string;
  readonly made: readonly NativeVariant[];
  readonly objects: readonly string[];
  readonly left: Readonly<Record<string, string>>;
}

/**
 * "wide" is an additional variant with vectors of 16 in plain instructions, so that the logic of AVX-512 runs on any
 * processor. It is optimized less, because compilers need a minute for vectors that the processor does not have.
 * @param compiler its command and first arguments
 * @param flags for linking, such as -static
 * @throws {Error} with the compiler's output
 */
export async function compileKernels(
  compiler: readonly string[],
  folder: string,
  { arch = process.arch as string, flags = [] as string[] } = {},
): Promise<KernelsProgram> {
  const [command = "c++", ...args] = compiler;
  const run = async (program: string, given: string[]) => {
    await promisify(execFile)(program, given);
  };
  const [first, ...others] = nativeVariants(arch) as [NativeVariant, ...NativeVariant[]];
  const wide: NativeVariant = { ...first, name: "wide", lanes: 16, flags: [...first.flags, "-O1"] };
  const variants = [first, ...others, wide];
  const { made, objects, left } = await compileVariants({
    root: packageRoot(),
    compiler: [...compiler],
    folder,
    run,
    variants,
  });
  const program = path.join(folder, "kernels-test");
  const source = path.join(packageRoot(), "test", "engine", "native", "kernels_test.cc");
  const list = `-DFOLIO_VARIANTS=${made.map(({ name }) => `V(${name})`).join("")}`;
  const options = ["-std=c++17", "-O1", "-w", "-pthread", list, `-I${nativeFolder(packageRoot())}`, ...flags];
  await run(command, [...args, ...options, source, ...objects, "-o", program]);
  return { program, made, objects, left };
}
