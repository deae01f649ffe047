/**
 * The command line: `folio start | prepare | train | launch | sample | view | bench | export | eval | sizes | runs | scaling | check | doctor`.
 * This file finds the command, answers --help and --version, and turns errors into one line and an exit code. Each
 * command has a file in lib/cli/, which is loaded only when it is called. bin/folio.mjs starts it, and itself handles
 * `folio setup`, which must work before a build.
 */
import fs from "node:fs";
import { inspect } from "node:util";
import { closest, distance } from "fastest-levenshtein";
import { openProcessOutput, printableIo } from "./shared/output.js";
import { type Io, styled, withFlags } from "./shared/terminal.js";

/** The exports of a command's file. */
interface Command {
  /** The text of `folio COMMAND --help`. @param args the part that is asked about, for a command with parts */
  help(args: readonly string[]): string | Promise<string>;
  /** Runs it. @returns the exit code */
  run(args: readonly string[], io: Io): Promise<number>;
}

interface CommandEntry {
  readonly summary: string;
  load(): Promise<Command>;
  /** Whether it does work besides printing: if its output is lost, it must not end with exit code 0. */
  works?(args: readonly string[]): boolean;
}

const always = () => true;
const commands: Readonly<Record<string, CommandEntry>> = {
  start: {
    summary: "prepare the embedded corpus, train a small GPT, sample, write a report",
    load: () => import("./start.js"),
    works: always,
  },
  prepare: { summary: "make a dataset's token files", load: () => import("./prepare.js"), works: always },
  train: { summary: "train a model, or resume", load: () => import("./train.js"), works: always },
  launch: {
    summary: "train in several processes, on one machine or more",
    load: () => import("./launch.js"),
    works: always,
  },
  sample: { summary: "generate text with a trained model", load: () => import("./sample.js") },
  view: {
    summary: "write a model as a page in which it runs and is looked into",
    load: () => import("./view.js"),
    works: always,
  },
  bench: {
    summary: "measure training speed: eager, compiled, against PyTorch",
    load: () => import("./bench.js"),
    works: always,
  },
  export: { summary: "write a model as a Hugging Face folder", load: () => import("./export.js"), works: always },
  eval: { summary: "the loss of a trained model on a split or a text", load: () => import("./eval.js") },
  sizes: { summary: "parameters, FLOPs, memory and time of a configuration", load: () => import("./sizes.js") },
  runs: { summary: "list the runs in a folder, or compare some", load: () => import("./runs.js") },
  scaling: {
    summary: "scaling laws: plan a sweep, run it, fit a law, find the optimum",
    load: () => import("./scaling/main.js"),
    works: ([part]) => part === "run",
  },
  check: {
    summary: "check a GPU, GPT-2's published weights, a Mac: a table to paste",
    load: () => import("./check.js"),
    works: always,
  },
  doctor: { summary: "check this machine and report problems", load: () => import("./doctor.js") },
};
// Handled by bin/folio.mjs; listed here for help and for suggestions.
const elsewhere: Readonly<Record<string, string>> = {
  lab: "open JupyterLab with Folio's kernel on a folder",
  notebook: "make a notebook of your own from a template",
  kernel: "register the kernel for VS Code and other front ends",
  setup: "install and build what is missing",
  help: "this text, or that of a command: folio help train",
};

function overview(): string {
  const rows = [
    ...Object.entries(commands).map(([name, { summary }]) => [name, summary]),
    ...Object.entries(elsewhere),
  ];
  return `Folio, a literate GPT laboratory in TypeScript.

Usage: folio COMMAND [argument …]

${rows.map(([name, summary]) => `  ${name!.padEnd(9)} ${summary}`).join("\n")}

\`folio COMMAND --help\` lists a command's options; \`folio --version\` prints the version.
For example: folio train configs/train_shakespeare_char.ts --device=cpu --n_layer=4`;
}

/**
 * Runs one command line, without `node` and the script's name.
 * @returns the exit code: 0 done, 1 failed, 2 no such command; stopped by 130 Ctrl-C, 143 SIGTERM, 129 the terminal's
 * end, 141 a closed pipe
 */
export async function main(argv: readonly string[], io?: Io): Promise<number> {
  return io ? await runCommand(argv, printableIo(io)) : await runInProcess(argv);
}

/** Uses the process's own output; unhandled rejections and a premature end of the process get a message too. */
async function runInProcess(argv: readonly string[]): Promise<number> {
  let done = false;
  const end = (code: number): never => {
    done = true;
    process.exit(code);
  };
  const [name = "", ...args] = argv;
  const works = Object.hasOwn(commands, name) && commands[name]!.works?.(args);
  // A closed pipe (`folio runs | head`) ends a command that only prints, with success; other commands fail.
  const output = openProcessOutput(({ exitCode }) => end(exitCode === 141 && !works ? 0 : exitCode));
  const io = printableIo(output.io);
  const fail = (error: unknown) => {
    if (done) return;
    void report(error, io).then(() => end(1));
  };
  process.on("uncaughtException", fail).on("unhandledRejection", fail);
  process.once("exit", (code) => {
    if (done || (code !== 0 && code !== unsettled)) return;
    process.exitCode = 1;
    // A config file that calls process.exit() or a promise that never settles must not pass for success.
    writeLast("folio: Cannot continue: the program ended before its work was done.\n");
  });
  const code = await runCommand(argv, io);
  const lost = await output.settled();
  done = true;
  return code === 0 && lost?.exitCode === 1 ? 1 : code;
}

/** Node's exit code for a program that ends while a top-level await is pending. */
const unsettled = 13;

function writeLast(text: string): void {
  try {
    fs.writeSync(2, text);
  } catch {
    // nobody can read it
  }
}

async function runCommand(argv: readonly string[], io: Io): Promise<number> {
  const [name = "help", ...args] = argv;
  const print = (text: string) => io.stdout.write(`${text}\n`);
  try {
    if (name === "--version" || name === "-v") {
      print((await import("../host/package.js")).folioVersion());
      return 0;
    }
    if (name === "help" || name === "--help" || name === "-h") {
      const [about, ...rest] = args.filter((arg) => !arg.startsWith("-"));
      if (about === undefined || about === "help") print(overview());
      else if (about === "setup") print("folio setup: installs and builds what is missing; needs no arguments.");
      else print(await (await find(about)).help(rest));
      return 0;
    }
    const command = await find(name);
    if (args.includes("--help") || args.includes("-h")) {
      print(await command.help(args));
      return 0;
    }
    return await command.run(args, io);
  } catch (error) {
    await report(error, io);
    return error instanceof UnknownCommand ? 2 : 1;
  }
}

const told = new WeakSet<Io>();

/** Reports an error as one message; further errors are not reported. */
async function report(error: unknown, io: Io): Promise<void> {
  if (told.has(io)) return;
  told.add(io);
  const message = await withFlags(messageOf(error));
  io.stderr.write(`${styled(io.stderr, "red", "folio:")} ${message}\n`);
  // A stack trace helps Folio's developers, not its users.
  if (process.env.FOLIO_DEBUG && error instanceof Error) io.stderr.write(`${error.stack}\n`);
}

/** The message of whatever was thrown. */
function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  return typeof error === "string"
    ? error
    : `something that is not an Error was thrown: ${inspect(error, { depth: 0 })}`;
}

class UnknownCommand extends Error {}

async function find(name: string): Promise<Command> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return await command.load();
  const nearest = closest(name, [...Object.keys(commands), ...Object.keys(elsewhere)]);
  const hint = distance(name, nearest) <= 3 ? `did you mean \`folio ${nearest}\`?` : "`folio help` lists the commands.";
  throw new UnknownCommand(`There is no command ${name}; ${hint}`);
}
