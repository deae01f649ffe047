/**
 * The command line: `folio start | prepare | train | sample | bench | export | eval | sizes | runs | scaling | doctor`.
 * This file finds the command, answers --help and --version, and turns errors into one line and an exit code; each
 * command has a file in lib/cli/ and is loaded only when it is called. bin/folio.mjs starts it, and keeps `folio setup`,
 * which must run before a build.
 */
import fs from "node:fs";
import { inspect } from "node:util";
import { closest, distance } from "fastest-levenshtein";
import { openProcessOutput, printableIo } from "./shared/output.js";
import { type Io, styled, withFlags } from "./shared/terminal.js";

/** What a command's file exports. */
interface Command {
  /** The text of `folio COMMAND --help`. @param args which of its parts is asked about, of a command that has parts */
  help(args: readonly string[]): string | Promise<string>;
  /** Does it. @returns the exit code */
  run(args: readonly string[], io: Io): Promise<number>;
}

interface CommandEntry {
  readonly summary: string;
  load(): Promise<Command>;
  /** Whether it does work that is lost when its output is: it must not end as if all were well. */
  works?(args: readonly string[]): boolean;
}

const always = () => true;
const commands: Readonly<Record<string, CommandEntry>> = {
  start: {
    summary: "the main job: prepare the embedded corpus, train a small GPT, sample, write a report",
    load: () => import("./start.js"),
    works: always,
  },
  prepare: { summary: "make a dataset's token files", load: () => import("./prepare.js"), works: always },
  train: { summary: "train a model, or resume", load: () => import("./train.js"), works: always },
  sample: { summary: "write text with a trained model", load: () => import("./sample.js") },
  bench: {
    summary: "time training steps: eager, compiled, against PyTorch",
    load: () => import("./bench.js"),
    works: always,
  },
  export: { summary: "write a model as a Hugging Face folder", load: () => import("./export.js"), works: always },
  eval: { summary: "the loss of a trained model on a split or a text", load: () => import("./eval.js") },
  sizes: { summary: "parameters, FLOPs, memory and time of a configuration", load: () => import("./sizes.js") },
  runs: { summary: "list the runs in a folder, or compare some", load: () => import("./runs.js") },
  scaling: {
    summary: "scaling laws: plan a sweep, run it, fit it, ask for the optimum",
    load: () => import("./scaling/main.js"),
    works: ([part]) => part === "run",
  },
  doctor: { summary: "say what this machine has and what is wrong", load: () => import("./doctor.js") },
};
// Handled by bin/folio.mjs; listed so that help and the nearest name know them.
const elsewhere: Readonly<Record<string, string>> = {
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

\`folio COMMAND --help\` lists what a command takes; \`folio --version\` prints the version.
For example: folio train configs/train_shakespeare_char.ts --device=cpu --n_layer=4`;
}

/**
 * Runs one command line, without `node` and the script's name.
 * @returns the exit code: 0 done, 1 failed, 2 no such command; of what was stopped 130 (Ctrl-C), 143 (SIGTERM), 129 (the
 * terminal closed), 141 (nobody reads its output any more)
 */
export async function main(argv: readonly string[], io?: Io): Promise<number> {
  return io ? await runCommand(argv, printableIo(io)) : await runInProcess(argv);
}

/** With the process' own output; what nobody awaits, and a process that ends in the middle, get a message as well. */
async function runInProcess(argv: readonly string[]): Promise<number> {
  let done = false;
  const end = (code: number): never => {
    done = true;
    process.exit(code);
  };
  const [name = "", ...args] = argv;
  const works = Object.hasOwn(commands, name) && commands[name]!.works?.(args);
  // A reader that has seen enough (`folio runs | head`) ends what only prints; what works has begun nothing yet.
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
    // A config file that calls process.exit(), a promise that nobody keeps: it must not pass for success.
    writeLast("folio: Cannot go on: the program ended before its work was done.\n");
  });
  const code = await runCommand(argv, io);
  const lost = await output.settled();
  done = true;
  return code === 0 && lost?.exitCode === 1 ? 1 : code;
}

/** Node's exit code of a program that ends while it still awaits something. */
const unsettled = 13;

function writeLast(text: string): void {
  try {
    fs.writeSync(2, text);
  } catch {
    // nobody hears it
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

/** What went wrong, as one message: what follows from it, or goes wrong besides, is not told after it. */
async function report(error: unknown, io: Io): Promise<void> {
  if (told.has(io)) return;
  told.add(io);
  const message = await withFlags(messageOf(error));
  io.stderr.write(`${styled(io.stderr, "red", "folio:")} ${message}\n`);
  // A stack helps whoever changes Folio, not whoever mistyped a flag.
  if (process.env.FOLIO_DEBUG && error instanceof Error) io.stderr.write(`${error.stack}\n`);
}

/** Anything can be thrown. */
function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  return typeof error === "string" ? error : `something went wrong that is no error: ${inspect(error, { depth: 0 })}`;
}

class UnknownCommand extends Error {}

async function find(name: string): Promise<Command> {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return await command.load();
  const nearest = closest(name, [...Object.keys(commands), ...Object.keys(elsewhere)]);
  const hint = distance(name, nearest) <= 3 ? `did you mean \`folio ${nearest}\`?` : "`folio help` lists the commands.";
  throw new UnknownCommand(`There is no command ${name}; ${hint}`);
}
