/** The error for a run's folder that cannot be written, from the file system's error. */
export function cannotWrite(outDir: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const full = code === "ENOSPC" || code === "EDQUOT";
  const reason = full ? "the disk is full. Free some space, or choose" : `${message}. Choose`;
  return new Error(`Cannot write the run's folder ${outDir}: ${reason} another outDir.`, { cause: error });
}
