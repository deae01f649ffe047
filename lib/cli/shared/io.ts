/** Where a command writes: what it is given in place of the process's own streams. */

/** Where a command writes. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  /** Calls `listener` once, when standard output cannot be written any more; without one, that ends the process. */
  onLost?(listener: (lost: LostOutput) => void): void;
}

/** Why standard output cannot be written any more. */
export interface LostOutput {
  /** Of a command that had to stop for it: 141 for a pipe that was closed, 129 for a terminal, 1 for a full device. */
  readonly exitCode: 1 | 129 | 141;
  readonly found: string;
}

/** A stream as process.stdout is; tests hand in their own. */
export interface Output {
  /** Words of Folio's, with what they quote: shown as printable text. */
  write(text: string): unknown;
  /** Text that a command is asked for, as a sample: as it is, but on a terminal, which would obey its escapes. */
  writeText?(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}
