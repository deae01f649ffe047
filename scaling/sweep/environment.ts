/** Threads and GPU of a sweep's process, by environment variables that TensorFlow reads. */

/** The environment of a process with this number of threads and, if given, the GPU of this number. */
export function threadEnvironment(threads: number, gpu?: number): Record<string, string> {
  return {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: "1",
    OMP_NUM_THREADS: String(threads),
    ...(gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: visibleGpu(gpu) }),
  };
}

/**
 * The name of a GPU for CUDA: its number among those that CUDA_VISIBLE_DEVICES shows, if it is set, as it is by Slurm.
 * @throws {RangeError} if it shows too few
 */
export function visibleGpu(gpu: number): string {
  const shown = process.env.CUDA_VISIBLE_DEVICES;
  if (!shown) return String(gpu);
  const names = shown.split(",");
  const name = names[gpu];
  if (name !== undefined) return name;
  throw new RangeError(
    `Cannot use GPU ${gpu}: CUDA_VISIBLE_DEVICES=${shown} shows ${names.length}, numbered from 0; give fewer --gpus, or unset it.`,
  );
}
