/** A source of text that cannot be prepared, in one form of words. */

/** What is named on the command line could not be read. */
export function refuseSource(where: string, found: string, wanted: string): RangeError {
  return new RangeError(`Cannot read ${where}: ${found}; ${wanted}.`);
}
