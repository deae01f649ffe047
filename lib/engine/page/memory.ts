/** The memory of a page, in place of lib/host/memory.ts. */

/** WebAssembly has 32-bit addresses. */
export const machineBytes = (): number => 2 ** 32;
