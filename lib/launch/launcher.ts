/** A launcher: it starts this machine's ranks, relays their messages to the coordinator, and kills them when it must. */
import { type ChildProcess, spawn } from "node:child_process";
import net from "node:net";
import os from "node:os";
import type { Readable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { addressOf, bindLibrary } from "./address.js";
import type { LaunchOptions } from "./arguments.js";
import { startCoordinator } from "./coordinator.js";
import { LIFE_PIPE } from "./life.js";
import { BEAT_MS, type FromNode, type FromRank, listen, send, type ToNode, type ToRank } from "./messages.js";
import type { Place } from "./rank.js";

export interface Launch {
  readonly options: LaunchOptions;
  /** The program and arguments of a rank; `again`: it resumes. */
  readonly command: (again: boolean) => readonly string[];
  /** The command that resumes the training. */
  readonly resume: string;
  /** Shows a line to the user. */
  readonly say: (line: string) => void;
  /** Aborted at the first signal; the second ends this process. */
  readonly signal: AbortSignal;
}

/** @returns the exit code; 128 plus the signal's number if the training was stopped @throws {Error} when it cannot begin */
export async function launch(launch: Launch): Promise<number> {
  const { options, say } = launch;
  const { nodes, node, ranksPerNode, trustedNetwork } = options;
  const severalMachines = nodes > options.here.launchers;
  const address = await addressOf(options.masterAddress, { trustedNetwork, severalMachines });
  const library = trustedNetwork ? undefined : await bindLibrary();
  const coordinator =
    node === 0 ? await startCoordinator({ ...options, address, port: options.masterPort, say }) : undefined;
  try {
    const socket = await connected(address, coordinator?.port ?? options.masterPort, launch);
    const own = socket.localAddress!;
    // The connection's own address is one that the other machines reach.
    if (!trustedNetwork) await addressOf(own, options);
    const ranks = Array.from({ length: ranksPerNode }, (_, local) => node * ranksPerNode + local);
    const machine = new Machine(launch, socket, { ranks, size: nodes * ranksPerNode, address: own, library });
    return await machine.run();
  } finally {
    coordinator?.close();
  }
}

/** A connection to the coordinator, which may not be there yet. */
async function connected(host: string, port: number, { say, signal, options }: Launch): Promise<net.Socket> {
  const begun = performance.now();
  for (let attempt = 0; ; attempt++) {
    try {
      return await new Promise<net.Socket>((resolve, reject) => {
        const socket = net.connect({ host, port, timeout: 5000 });
        socket.once("connect", () => resolve(socket.setTimeout(0).setNoDelay(true)));
        socket.once("error", reject);
        socket.once("timeout", () => socket.destroy(new Error("no answer")));
      });
    } catch (error) {
      if (signal.aborted) throw new Error("Cannot launch: stopped while waiting for node 0.");
      const { code, message } = error as NodeJS.ErrnoException;
      const found = code === "ECONNREFUSED" ? "nobody listens there" : message;
      if (attempt === 2) say(`waiting for node 0 at ${host}:${port} (${found})`);
      if (performance.now() - begun > 1000 * options.heartbeatSeconds) {
        throw new Error(
          `Cannot launch: node 0 cannot be reached at ${host}:${port} for ${options.heartbeatSeconds} s (${found}). Is it started, with --node_rank=0 and the same --master_addr and --master_port? Does a firewall let its port through? Test it with: nc -vz ${host} ${port}`,
        );
      }
      await wait(1000);
    }
  }
}

/** Until a rank gives its first sign of life it may take longer: the program is loaded, perhaps over a network. */
const LOADING_SECONDS = 120;

interface Rank {
  readonly rank: number;
  readonly process: ChildProcess;
  /** When it gave its last sign of life, or must give its first, and when it last computed something. */
  heard: number;
  advanced: number;
  ended: boolean;
  code: number;
  /** The end of its standard error. */
  said: string;
}

interface Places {
  readonly ranks: readonly number[];
  readonly size: number;
  readonly address: string;
  readonly library: string | undefined;
}

class Machine {
  private running: Rank[] = [];
  private heard = performance.now();
  private failed = false;
  private resolve!: (code: number) => void;
  private ended = false;

  constructor(
    private readonly launch: Launch,
    private readonly socket: net.Socket,
    private readonly places: Places,
  ) {}

  /** Follows the coordinator until it ends the training. */
  async run(): Promise<number> {
    const { signal, options } = this.launch;
    const { ranks } = this.places;
    const done = new Promise<number>((resolve) => {
      this.resolve = resolve;
    });
    const timer = setInterval(() => this.watch(), BEAT_MS);
    const stop = () => this.stop();
    signal.addEventListener("abort", stop);
    listen<ToNode>(this.socket, (message) => this.hear(message));
    const lost = "the connection to node 0 was lost; its launcher was killed, or the network is down";
    this.socket.on("close", () => this.end(1, `Training ended: ${lost}.`));
    send<FromNode>(this.socket, { kind: "hello", node: options.node, ranks, nodes: options.nodes });
    if (signal.aborted) stop();
    const code = await done;
    clearInterval(timer);
    signal.removeEventListener("abort", stop);
    return code;
  }

  private hear(message: ToNode): void {
    this.heard = performance.now();
    if (message.kind === "start") this.start(message.again);
    else if (message.kind === "cluster") {
      // One that has ended meanwhile is told of when it closes.
      for (const { process } of this.running) if (process.connected) process.send(message satisfies ToRank, () => {});
    } else if (message.kind === "kill") void this.kill().then(() => send<FromNode>(this.socket, { kind: "killed" }));
    else if (message.kind === "end") this.end(message.code, message.message);
  }

  private end(code: number, message?: string): void {
    if (this.ended) return;
    this.ended = true;
    void this.kill().then(() => {
      this.socket.destroy();
      if (message) this.launch.say(message);
      this.resolve(code);
    });
  }

  /** Ranks that train agree on the step after which they stop; the coordinator ends all if they do not yet. */
  private stop(): void {
    send<FromNode>(this.socket, { kind: "stop" });
    for (const { process, ended } of this.running) if (!ended) process.kill("SIGINT");
  }

  private start(again: boolean): void {
    this.failed = false;
    this.running = this.places.ranks.map((rank, local) => this.startRank(rank, local, again));
  }

  private startRank(rank: number, local: number, again: boolean): Rank {
    const { size, address, library } = this.places;
    const place: Place = { rank, size, address, bound: library !== undefined, resume: this.launch.resume };
    const [program, ...args] = this.launch.command(again);
    const preload = [library, process.env.LD_PRELOAD].filter(Boolean).join(":");
    const child = spawn(program!, args, {
      // In a group of its own, so that Ctrl-C reaches it through the launcher alone.
      detached: true,
      stdio: ["ignore", rank === 0 ? "inherit" : "ignore", "pipe", "ipc", "pipe"],
      env: {
        ...process.env,
        ...(library && { LD_PRELOAD: preload, BIND_ADDRESS: address }),
        FOLIO_RANK: JSON.stringify(place),
        ...devicesOf(local, this.launch.options),
      },
    });
    const now = performance.now();
    const heard = now + 1000 * LOADING_SECONDS;
    const own: Rank = { rank, process: child, heard, advanced: now, ended: false, code: 0, said: "" };
    child.stderr!.on("data", (chunk: Buffer) => {
      own.said = (own.said + chunk).slice(-4000);
      if (rank === 0) process.stderr.write(chunk);
    });
    const life = child.stdio[LIFE_PIPE] as Readable;
    life.on("data", () => {
      own.heard = performance.now();
    });
    life.on("error", () => {}); // it has ended
    child.on("message", (message: FromRank) => {
      own.advanced = performance.now();
      if (message.kind === "join") send<FromNode>(this.socket, { ...message, rank });
    });
    child.on("error", (error) => {
      if (child.pid === undefined) this.fault(own, `cannot be started (${error.message})`);
    });
    child.on("close", (code, signal) => this.close(own, code, signal));
    return own;
  }

  private close(own: Rank, code: number | null, signal: NodeJS.Signals | null): void {
    own.ended = true;
    own.code = code ?? 1;
    const stopped = code === 129 || code === 130 || code === 143 || code === 141;
    if (signal || (code !== 0 && !stopped)) {
      const last = own.said.trim().split("\n").at(-1) ?? "";
      this.fault(own, signal ? `was ended by ${signal}` : `ended with exit code ${code}${last && `: ${last}`}`);
    } else if (!this.failed && this.running.every(({ ended }) => ended)) {
      send<FromNode>(this.socket, { kind: "done", code: Math.max(...this.running.map((each) => each.code)) });
    }
  }

  /** Node 0, if it is silent; ranks that were stopped by a signal, and ranks that wait for ever. */
  private watch(): void {
    send<FromNode>(this.socket, { kind: "beat" });
    const { heartbeatSeconds, stepTimeoutSeconds } = this.launch.options;
    const now = performance.now();
    if (now - this.heard > 1000 * heartbeatSeconds) {
      this.end(1, `Training ended: node 0 (${this.socket.remoteAddress}) has not answered for ${heartbeatSeconds} s.`);
    }
    for (const own of this.running.filter(({ ended }) => !ended)) {
      if (now - own.heard > 1000 * heartbeatSeconds) {
        this.fault(own, `has given no sign of life for ${heartbeatSeconds} s`);
      } else if (now - own.advanced > 1000 * stepTimeoutSeconds) {
        const why = "a step takes longer (--step_timeout_s), or it waits for a process that is stuck";
        this.fault(own, `has computed nothing for ${stepTimeoutSeconds} s: ${why}`);
      }
    }
  }

  private fault({ rank, process: child }: Rank, what: string): void {
    if (this.failed) return;
    this.failed = true;
    const message = `Training ended: rank ${rank} (process ${child.pid ?? "?"} on ${os.hostname()}) ${what}.`;
    send<FromNode>(this.socket, { kind: "fault", message: message.replace(/\.\.$/, ".") });
  }

  /** Kills the ranks at once, also stopped ones, since they cannot go on without each other. */
  private async kill(): Promise<void> {
    this.failed = true;
    const living = this.running.filter(({ ended }) => !ended);
    const ends = living.map(({ process: child }) => new Promise((resolve) => child.once("close", resolve)));
    for (const { process: child } of living) child.kill("SIGKILL");
    await Promise.all(ends);
  }
}

/** The GPU or the part of the processor that is this rank's. Slurm's tasks may share a machine, or see only their own part. */
export function devicesOf(
  local: number,
  { ranksPerNode, here }: Pick<LaunchOptions, "ranksPerNode" | "here">,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const { CUDA_VISIBLE_DEVICES: visible, TF_NUM_INTRAOP_THREADS: threads } = environment;
  const index = here.launcher * ranksPerNode + local;
  const names = visible?.split(",");
  // Slurm may show each task its own GPUs only.
  const own = names === undefined ? String(index) : (names[index] ?? names[here.launchers > 1 ? local : index]);
  const all = os.availableParallelism();
  const ofTask = Math.min(all, (Number(environment.SLURM_CPUS_ON_NODE) || all) / here.launchers);
  const share = Math.max(1, Math.floor(ofTask / ranksPerNode));
  return {
    // A rank without a GPU of its own trains on the CPU, or says that there is none.
    ...(visible !== "-1" && visible !== "" && { CUDA_VISIBLE_DEVICES: own ?? "-1" }),
    ...(threads === undefined && { TF_NUM_INTRAOP_THREADS: String(share) }),
  };
}
