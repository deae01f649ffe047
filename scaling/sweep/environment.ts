/** Threads and GPU of a sweep's process, by environment variables that TensorFlow reads. */

/** The environment of a process with this number of threads and, if given, the GPU of this number. */
export function threadEnvironment(threads: number, gpu?: number): Record<string, string> {
  return {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: "1",
    OMP_NUM_THREADS: String(threads),
    ...(gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: String(gpu) }),
  };
}
