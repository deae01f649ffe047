/** The output streams of a command, instead of the process's own. */

/** Where a command writes. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  /**
   * Calls `listener` once, when standard output can no longer be written; without a listener, that ends the process.
   */
  onLost?(listener: (lost: LostOutput) => void): void;
}

/** Why standard output can no longer be written. */
export interface LostOutput {
  /**
   * Exit code of a command that stops because of it: 141 for a closed pipe, 129 for a closed terminal, 1 for a full
   * device.
   */
  readonly exitCode: 1 | 129 | 141;
  readonly found: string;
}

/** A stream like process.stdout; tests pass their own. */
export interface Output {
  /** Writes a message, in which control characters are escaped. */
  write(text: string): unknown;
  /** Writes requested text, such as a sample: unchanged, except on a terminal, which would obey escape sequences. */
  writeText?(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}
