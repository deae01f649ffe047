/**
 * The notebook kernel's services, if this process is a kernel: bin/notebook-kernel.mjs provides them. Long computations
 * ask whether the cell was interrupted; lib/notebook/ shows values and progress. In other processes there are none.
 */

/** Representations of a value by MIME type, as Jupyter takes them. */
export type MimeBundle = Readonly<Record<string, string>>;

/** Keeps an interrupted cell waiting: long while it is busy, otherwise only briefly. */
export interface Hold {
  busy: boolean;
  release(): void;
}

export interface NotebookKernel {
  /** The running cell's; aborted by Jupyter's interrupt. */
  readonly signal: AbortSignal;
  /** The number that Jupyter shows as In [n]. */
  readonly cell: number;
  /** The front end's identity of the running cell, which it keeps when it is run again; not all front ends send one. */
  readonly cellId: string | undefined;
  /** The identities of the runs made by this kernel, by their folder. */
  readonly runs: Map<string, Set<string>>;
  /** Taken by work that saves when it is interrupted, and released when it has ended. */
  hold(): Hold;
  /** Shows output below the cell; it replaces earlier output with the same id. */
  display(bundle: MimeBundle, id?: string): void;
  /** How Folio's values are shown; set once Folio is loaded. */
  describe: ((value: unknown) => MimeBundle | undefined) | undefined;
}

export function notebookKernel(): NotebookKernel | undefined {
  return (globalThis as { [key: symbol]: NotebookKernel | undefined })[Symbol.for("folio.kernel")];
}

/** The signal for long work that is given none: in a notebook, the interrupt of the cell. */
export function cellSignal(): AbortSignal | undefined {
  return notebookKernel()?.signal;
}

/** For work with nothing to save. @throws {Error} when the cell that it runs for was interrupted */
export function throwIfInterrupted(): void {
  cellSignal()?.throwIfAborted();
}
