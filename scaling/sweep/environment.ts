/** How many threads a process of a sweep takes, and which GPU: by the environment that TensorFlow reads. */

/** The environment of a process that computes with so many threads, on the GPU of that number where one is named. */
export function threadEnvironment(threads: number, gpu?: number): Record<string, string> {
  return {
    TF_NUM_INTRAOP_THREADS: String(threads),
    TF_NUM_INTEROP_THREADS: "1",
    OMP_NUM_THREADS: String(threads),
    ...(gpu === undefined ? {} : { CUDA_VISIBLE_DEVICES: String(gpu) }),
  };
}
