/** The error for a source of text that cannot be read. */

/** An error that says where, what was found and what to do. */
export function refuseSource(where: string, found: string, wanted: string): RangeError {
  return new RangeError(`Cannot read ${where}: ${found}; ${wanted}.`);
}
