/**
 * Controls a kernel like a front end, for tests: runs, interrupts, completes and inspects cells one after the other.
 */
import { spawn } from "node:child_process";
import path from "node:path";
import readline from "node:readline";
import { textOf } from "./notebook.js";
import { root } from "./runner.js";

interface Message {
  readonly type: string;
  readonly name?: string;
  readonly text?: string;
  readonly data?: Readonly<Record<string, string>>;
}

/** The outputs of a cell. */
export interface Answer {
  readonly status: "ok" | "error" | "aborted" | "dead";
  readonly ename?: string;
  readonly evalue?: string;
  /** Without colours. */
  readonly traceback: string;
  readonly stdout: string;
  readonly stderr: string;
  /** The value of the last expression. */
  readonly result: Readonly<Record<string, string>> | undefined;
  readonly displays: readonly Message[];
}

export interface Completion {
  readonly matches: readonly string[];
  readonly types: Readonly<Record<string, string>>;
}

export interface TestKernel {
  readonly pid: number;
  /** @param interruptOn the kernel is interrupted when this text appears among the outputs */
  run(code: string, interruptOn?: string): Promise<Answer>;
  /** `|` marks the cursor. */
  complete(code: string): Promise<Completion>;
  inspect(code: string): Promise<string>;
  close(): Promise<void>;
}

/**
 * @param name of a registered kernel
 * @param dataDir the user's Jupyter folder
 */
export async function openKernel(folder: string, name = "tslab", dataDir?: string): Promise<TestKernel> {
  const python = path.join(root, ".venv", "bin", "python");
  const child = spawn(python, [path.join(root, "test", "notebooks", "kernel.py"), folder, name], {
    stdio: ["pipe", "pipe", "inherit"],
    env: {
      ...process.env,
      ...(dataDir && { JUPYTER_DATA_DIR: dataDir }),
      FOLIO_INSPECT: "",
      FOLIO_DEBUG: "",
      PYDEVD_DISABLE_FILE_VALIDATION: "1",
    },
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("The kernel's driver ended.");
    return JSON.parse(value);
  };
  const ask = (command: object) => {
    child.stdin.write(`${JSON.stringify(command)}\n`);
    return answer();
  };
  const { pid } = await answer();
  return {
    pid,
    run: async (code, interruptOn) => answered(await ask({ run: code, ...(interruptOn && { interruptOn }) })),
    async complete(code) {
      const { matches, metadata } = await ask({ complete: code.replace("|", ""), at: code.indexOf("|") });
      const typed = metadata._jupyter_types_experimental as { text: string; type: string }[];
      return { matches, types: Object.fromEntries(typed.map(({ text, type }) => [text, type])) };
    },
    inspect: async (code) =>
      (await ask({ inspect: code.replace("|", ""), at: code.indexOf("|") })).data["text/plain"] ?? "",
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes begin with one
const colours = /\u001b\[\d+m/g;

function answered(content: { messages: Message[] } & Record<string, unknown>): Answer {
  const { messages, status, ename, evalue, traceback } = content as unknown as Omit<Answer, "traceback"> & {
    messages: Message[];
    traceback?: string[];
  };
  const stream = (wanted: string) =>
    messages.flatMap(({ type, name, text }) => (type === "stream" && name === wanted ? [textOf(text)] : [])).join("");
  return {
    status,
    ...(ename !== undefined && { ename }),
    ...(evalue !== undefined && { evalue }),
    traceback: (traceback ?? []).join("\n").replace(colours, ""),
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    result: messages.find(({ type }) => type === "execute_result")?.data,
    displays: messages.filter(({ type }) => type === "display_data" || type === "update_display_data"),
  };
}
