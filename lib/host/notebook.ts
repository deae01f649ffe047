/**
 * The notebook's kernel, where this process is one: bin/notebook-kernel.mjs puts it there. Long work asks it whether the
 * cell was interrupted; lib/notebook/ shows values and progress in it. Elsewhere there is none, and nothing changes.
 */

/** Representations of a value by MIME type, as Jupyter takes them. */
export type MimeBundle = Readonly<Record<string, string>>;

/** What keeps an interrupted cell waiting: long while it is busy, else not for long. */
export interface Hold {
  busy: boolean;
  release(): void;
}

export interface NotebookKernel {
  /** Of the cell that runs; aborted by Jupyter's interrupt. */
  readonly signal: AbortSignal;
  /** What Jupyter shows as In [n]. */
  readonly cell: number;
  /** The identities of the runs that this kernel made, by their folder. */
  readonly runs: Map<string, Set<string>>;
  /** Work that saves when it is interrupted takes this first, and releases it when it has ended. */
  hold(): Hold;
  /** Shows something below the cell; of the same id, in its place. */
  display(bundle: MimeBundle, id?: string): void;
  /** How values of Folio's are shown, once it is loaded. */
  describe: ((value: unknown) => MimeBundle | undefined) | undefined;
}

export function notebookKernel(): NotebookKernel | undefined {
  return (globalThis as { [key: symbol]: NotebookKernel | undefined })[Symbol.for("folio.kernel")];
}

/** What long work listens to that is given no signal: in a notebook, the interrupt of the cell. */
export function cellSignal(): AbortSignal | undefined {
  return notebookKernel()?.signal;
}

/** For work with nothing to save. @throws {Error} when the cell that it runs for was interrupted */
export function throwIfInterrupted(): void {
  cellSignal()?.throwIfAborted();
}
