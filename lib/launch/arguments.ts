/** The arguments of `folio launch`: torchrun's names as its users type them, or Slurm's variables; then the command. */
import { closest, distance } from "fastest-levenshtein";

export interface LaunchOptions {
  /** Machines, or Slurm's tasks, each with a launcher. */
  readonly nodes: number;
  /** This one's number, from 0. */
  readonly node: number;
  /** Processes that each of them starts. */
  readonly ranksPerNode: number;
  /** Launchers on this machine, of which this is the one of that number: Slurm may have several tasks on a machine. */
  readonly here: { readonly launchers: number; readonly launcher: number };
  readonly masterAddress: string;
  /** 0: any free port, for a single machine. */
  readonly masterPort: number;
  readonly maxRestarts: number;
  readonly heartbeatSeconds: number;
  /** Seconds in which a rank must compute something. */
  readonly stepTimeoutSeconds: number;
  readonly trustedNetwork: boolean;
}

export interface LaunchPlan {
  readonly options: LaunchOptions;
  /** The arguments of `folio train`. */
  readonly command: readonly string[];
}

const flags = ["standalone", "trusted_network"] as const;
const values = [
  ...[
    "nnodes",
    "node_rank",
    "nproc_per_node",
    "master_addr",
    "master_port",
    "max_restarts",
    "heartbeat_s",
    "step_timeout_s",
  ],
] as const;

/** All of its flags. */
export const launchFlags: readonly string[] = [...flags, ...values];

/** torchrun's default port. */
const DEFAULT_PORT = 29_500;

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the arguments: flags of torchrun's, then `train` or nanoGPT's train.py, then the arguments of `folio train`.
 * @throws {RangeError} that says which is unknown, missing or out of range
 */
export function readArguments(args: readonly string[], environment: Environment = process.env): LaunchPlan {
  const given = new Map<string, string>();
  let at = 0;
  for (; at < args.length && args[at]!.startsWith("-"); at++) {
    const [, word = "", value] = /^--?([^=]*)(?:=(.*))?$/s.exec(args[at]!)!;
    const name = word.replaceAll("-", "_");
    if (flags.includes(name as never)) {
      given.set(name, value ?? "true");
    } else if (values.includes(name as never)) {
      const found = value ?? args[++at];
      if (found === undefined) throw refuse(`--${name} has no value`);
      given.set(name, found);
    } else throw refuse(`there is no flag --${name}${hint(name)}`);
  }
  const [command, ...rest] = args.slice(at);
  if (command === undefined || !/^(train|(.*\/)?train\.py)$/.test(command)) {
    const found = command === undefined ? "no command is given" : `${command} cannot be launched`;
    throw refuse(
      `${found}; after the flags comes train with its settings: folio launch --nproc_per_node=2 train cpu_demo`,
    );
  }
  return { options: { ...placesOf(given, environment), ...optionsOf(given) }, command: rest };
}

function optionsOf(given: ReadonlyMap<string, string>) {
  return {
    maxRestarts: whole(given, "max_restarts", 0, { least: 0, most: 1000 }),
    heartbeatSeconds: whole(given, "heartbeat_s", 30, { least: 3, most: 86_400 }),
    stepTimeoutSeconds: whole(given, "step_timeout_s", 1800, { least: 3, most: 864_000 }),
    trustedNetwork: isTrue(given, "trusted_network"),
  };
}

type Places = Pick<LaunchOptions, "nodes" | "node" | "ranksPerNode" | "here" | "masterAddress" | "masterPort">;

const ALONE: LaunchOptions["here"] = { launchers: 1, launcher: 0 };

function placesOf(given: ReadonlyMap<string, string>, environment: Environment): Places {
  const ranksPerNode = whole(given, "nproc_per_node", 1, { least: 1, most: 1024 });
  const own = ["nnodes", "node_rank", "master_addr"].filter((name) => given.has(name));
  if (isTrue(given, "standalone")) {
    const other = [...own, "master_port"].find(
      (name) => given.has(name) && !(name === "nnodes" && given.get(name) === "1"),
    );
    if (other) throw refuse(`--standalone means one machine, so --${other} is left out`);
    return { nodes: 1, node: 0, ranksPerNode, here: ALONE, masterAddress: "127.0.0.1", masterPort: 0 };
  }
  const slurm = own.length === 0 ? slurmPlaces(environment) : undefined;
  if (slurm) {
    const masterPort = whole(given, "master_port", slurm.masterPort, { least: 1, most: 65_535 });
    return { ...slurm, ranksPerNode, masterPort };
  }
  const nodes = whole(given, "nnodes", 1, { least: 1, most: 10_000 });
  const node = whole(given, "node_rank", 0, { least: 0, most: nodes - 1 });
  if (nodes > 1 && !given.has("node_rank")) throw refuse("--nnodes needs --node_rank, this machine's number from 0");
  if (nodes > 1 && !given.has("master_addr")) throw refuse("--nnodes needs --master_addr, the address of node 0");
  const masterPort = whole(given, "master_port", nodes > 1 ? DEFAULT_PORT : 0, { least: 0, most: 65_535 });
  if (nodes > 1 && masterPort === 0)
    throw refuse("--master_port is 0; with several machines it must be the same port on all");
  return { nodes, node, ranksPerNode, here: ALONE, masterAddress: given.get("master_addr") ?? "127.0.0.1", masterPort };
}

/** From the variables that `srun` gives each task; undefined outside its tasks, as in a batch script, or for a single one. */
function slurmPlaces(environment: Environment): Omit<Places, "ranksPerNode"> | undefined {
  const { SLURM_STEP_NODELIST: list, SLURM_STEP_NUM_TASKS: tasks, SLURM_PROCID: task } = environment;
  const [nodes, node] = [Number(tasks), Number(task)];
  if (!list || !(nodes > 1) || !Number.isInteger(node)) return undefined;
  const here = {
    launchers: tasksOf(environment.SLURM_STEP_TASKS_PER_NODE ?? "", Number(environment.SLURM_NODEID ?? 0)),
    launcher: Number(environment.SLURM_LOCALID ?? 0),
  };
  // Each step of each job has a port of its own, the same in all tasks, below those that Linux gives to connections.
  const [job, step] = [Number(environment.SLURM_JOB_ID ?? 0), Number(environment.SLURM_STEP_ID ?? 0)];
  const masterPort = 20_000 + ((101 * job + step) % 12_000);
  return { nodes, node, here, masterAddress: firstHost(list), masterPort };
}

/** The number of tasks on a node of Slurm's list: `2(x3),1` is 2 on the first three nodes, 1 on the fourth. */
export function tasksOf(list: string, node: number): number {
  const counts = [...list.matchAll(/(\d+)(?:\(x(\d+)\))?/g)].flatMap(([, tasks, times = "1"]) =>
    Array.from({ length: Number(times) }, () => Number(tasks)),
  );
  return counts[node] ?? 1;
}

/** The first host of Slurm's list: `gpu[03-05,9],login` → `gpu03`. */
export function firstHost(list: string): string {
  const [, prefix = "", ranges, suffix = ""] = /^([^[,]*)(?:\[([^\]]*)\])?([^[,]*)/.exec(list) ?? [];
  return ranges === undefined ? prefix : `${prefix}${ranges.split(/[,-]/)[0]}${suffix}`;
}

function whole(
  given: ReadonlyMap<string, string>,
  name: string,
  otherwise: number,
  { least, most }: { least: number; most: number },
): number {
  const text = given.get(name);
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw refuse(`--${name} is ${text}; wanted a whole number from ${least} to ${most}`);
}

function isTrue(given: ReadonlyMap<string, string>, name: string): boolean {
  const text = given.get(name)?.toLowerCase() ?? "false";
  if (text === "true" || text === "false") return text === "true";
  throw refuse(`--${name} is ${text}; wanted true or false`);
}

function hint(name: string): string {
  if (name.startsWith("rdzv")) return "; the machines meet at --master_addr and --master_port";
  const nearest = closest(name, launchFlags);
  return distance(name, nearest) <= 3 ? `; did you mean --${nearest}?` : "; `folio launch --help` lists them";
}

const refuse = (why: string) => new RangeError(`Cannot launch: ${why}${why.endsWith("?") ? "" : "."}`);
