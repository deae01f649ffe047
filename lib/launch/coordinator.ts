/**
 * The coordinator of a launched training, on node 0: it waits for all launchers, lets the ranks meet once they agree,
 * and watches. Whatever fails, it ends or restarts all, with one message that names where.
 */
import net from "node:net";
import type { Agreement } from "../train/open-run.js";
import { BEAT_MS, type FromNode, fromNode, listen, send, type ToNode } from "./messages.js";

export interface CoordinatorOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly nodes: number;
  readonly ranksPerNode: number;
  readonly maxRestarts: number;
  readonly heartbeatSeconds: number;
  /** Shows what it waits for, and why it starts again. */
  readonly say: (line: string) => void;
}

export interface Coordinator {
  readonly port: number;
  close(): void;
}

interface Node {
  readonly node: number;
  readonly socket: net.Socket;
  readonly address: string;
  readonly ranks: readonly number[];
  heard: number;
  state: "waiting" | "running" | "killed" | "done";
  code: number;
}

type Joined = { readonly address: string; readonly agreement: Agreement };

/** How long the nodes may take to come together, as in torchrun. */
const GATHERING_SECONDS = 600;
/** How long a connection may say nothing. */
const HELLO_SECONDS = 10;

/** @throws {Error} when the port is taken, or the address is not this machine's */
export async function startCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const state = new State(options);
  const server = net.createServer((socket) => state.connect(socket));
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(explained(error, options)));
    server.listen(options.port, options.address, resolve);
  });
  const timer = setInterval(() => state.watch(), BEAT_MS);
  return {
    port: (server.address() as net.AddressInfo).port,
    close() {
      clearInterval(timer);
      server.close();
      state.disconnect();
    },
  };
}

function explained(error: NodeJS.ErrnoException, { address, port }: CoordinatorOptions): Error {
  const found =
    error.code === "EADDRINUSE"
      ? `port ${port} of ${address} is taken, perhaps by a training that still runs; choose another --master_port, the same on all machines`
      : error.code === "EADDRNOTAVAIL"
        ? `${address} is not an address of this machine; --master_addr is the address of node 0, so check it and --node_rank`
        : `it cannot listen on ${address}:${port} (${error.message})`;
  return new Error(`Cannot launch: ${found}.`, { cause: error });
}

class State {
  private readonly nodes = new Map<number, Node>();
  private readonly joined = new Map<number, Joined>();
  private phase: "gathering" | "running" | "killing" | "ended" = "gathering";
  private restarts = 0;
  private stopping = false;
  private readonly sockets = new Set<net.Socket>();
  private readonly begun = performance.now();

  constructor(private readonly options: CoordinatorOptions) {
    if (options.nodes > 1) options.say(`waiting for ${options.nodes} nodes at ${options.address}:${options.port}`);
  }

  connect(socket: net.Socket): void {
    this.sockets.add(socket);
    let own: Node | undefined;
    const silent = setTimeout(() => own ?? socket.destroy(), 1000 * HELLO_SECONDS);
    const hear = (message: FromNode) => {
      if (message.kind === "hello") own ??= this.admit(socket, message);
      else if (own) this.hear(own, message);
      else socket.destroy();
    };
    listen(socket, hear, (content) => fromNode.parse(content));
    socket.on("close", () => {
      clearTimeout(silent);
      this.sockets.delete(socket);
      if (!own || this.phase === "ended" || own.state === "done") return;
      this.end(
        1,
        `Training ended: the connection to ${named(own)} was lost; its launcher was killed, or its network is down.`,
      );
    });
  }

  disconnect(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private admit(socket: net.Socket, { node, ranks, nodes }: Extract<FromNode, { kind: "hello" }>): Node | undefined {
    const refuse = (why: string) => {
      send<ToNode>(socket, { kind: "end", code: 1, message: `Cannot launch: ${why}.` });
      return undefined;
    };
    const { nodes: wanted, ranksPerNode } = this.options;
    if (nodes !== wanted) return refuse(`--nnodes is ${nodes} on node ${node} and ${wanted} on node 0`);
    if (ranks.length !== ranksPerNode) {
      return refuse(`--nproc_per_node is ${ranks.length} on node ${node} and ${ranksPerNode} on node 0`);
    }
    if (node >= wanted || ranks.some((rank, local) => rank !== node * ranksPerNode + local)) {
      return refuse(`there is no node ${node} with the ranks ${ranks.join(", ")}`);
    }
    const address = socket.remoteAddress ?? "";
    const other = this.nodes.get(node);
    if (other) return refuse(`${address} and ${other.address} both have --node_rank=${node}`);
    const own: Node = { node, socket, address, ranks, heard: performance.now(), state: "waiting", code: 0 };
    this.nodes.set(node, own);
    if (this.nodes.size === wanted) this.start(false);
    else if (node > 0) this.options.say(`node ${node} (${address}) is there: ${this.nodes.size} of ${wanted}`);
    return own;
  }

  private start(again: boolean): void {
    this.phase = "running";
    this.joined.clear();
    for (const node of this.nodes.values()) {
      node.state = "running";
      send<ToNode>(node.socket, { kind: "start", again });
    }
  }

  private hear(from: Node, message: Exclude<FromNode, { kind: "hello" }>): void {
    from.heard = performance.now();
    if (message.kind === "beat") send<ToNode>(from.socket, { kind: "beat" });
    else if (message.kind === "join") this.join(from, message);
    else if (message.kind === "fault") this.fail(message.message);
    else if (message.kind === "stop") this.stop();
    else if (message.kind === "killed") {
      from.state = "killed";
      if (this.phase === "killing" && this.all("killed")) this.start(true);
    } else {
      from.state = "done";
      from.code = message.code;
      if (this.all("done")) this.end(Math.max(...[...this.nodes.values()].map(({ code }) => code)));
    }
  }

  private all(state: Node["state"]): boolean {
    return [...this.nodes.values()].every((node) => node.state === state);
  }

  private join(from: Node, { rank, port, agreement }: Extract<FromNode, { kind: "join" }>): void {
    // A launcher speaks for its own ranks, whose servers listen at its address.
    if (!from.ranks.includes(rank) || this.joined.has(rank)) {
      from.socket.destroy();
      return;
    }
    this.joined.set(rank, { address: `${from.address}:${port}`, agreement });
    const size = this.options.nodes * this.options.ranksPerNode;
    if (this.phase !== "running" || this.joined.size < size) return;
    const ranks = Array.from({ length: size }, (_, each) => this.joined.get(each)!);
    const differences = disagreements(ranks);
    if (differences.length > 0) {
      this.end(1, `Cannot train together: ${differences.join("; ")}. All processes need the same.`);
      return;
    }
    this.broadcast({ kind: "cluster", addresses: ranks.map((each) => each.address) });
  }

  /** Ranks that train stop by themselves, after the same step. */
  private stop(): void {
    this.stopping = true;
    const training = this.phase === "running" && this.joined.size === this.options.nodes * this.options.ranksPerNode;
    if (!training) this.end(130, "Stopped while no step was computed: there is nothing to save.");
  }

  /** Ends all, or starts them again. */
  private fail(message: string): void {
    if (this.phase !== "running") return;
    if (this.stopping || this.restarts >= this.options.maxRestarts) {
      this.end(1, message);
      return;
    }
    this.restarts++;
    this.phase = "killing";
    this.options.say(
      `${message} Starting all again from the last checkpoint (${this.restarts} of ${this.options.maxRestarts}).`,
    );
    for (const node of this.nodes.values()) node.state = "running";
    this.broadcast({ kind: "kill", message });
  }

  watch(): void {
    if (this.phase === "ended") return;
    if (this.phase === "gathering" && performance.now() - this.begun > 1000 * GATHERING_SECONDS) {
      const missing = Array.from({ length: this.options.nodes }, (_, node) => node).filter((n) => !this.nodes.has(n));
      this.end(1, `Cannot launch: node ${missing.join(", ")} did not come within ${GATHERING_SECONDS / 60} minutes.`);
      return;
    }
    const limit = 1000 * this.options.heartbeatSeconds;
    for (const node of this.nodes.values()) {
      if (node.state === "done" || performance.now() - node.heard < limit) continue;
      this.end(1, `Training ended: ${named(node)} has not answered for ${this.options.heartbeatSeconds} s.`);
      return;
    }
  }

  private end(code: number, message?: string): void {
    if (this.phase === "ended") return;
    this.phase = "ended";
    this.broadcast({ kind: "end", code, ...(message !== undefined && { message }) });
  }

  private broadcast(message: ToNode): void {
    for (const { socket } of this.nodes.values()) send(socket, message);
  }
}

const named = ({ node, address, ranks }: Node) =>
  `node ${node} (${address}, ${ranks.length === 1 ? "rank" : "ranks"} ${ranks.join(", ")})`;

/** What ranks have otherwise than rank 0, in words; at most five. */
function disagreements([first, ...others]: readonly Joined[]): string[] {
  return others
    .flatMap(({ address, agreement }, index) => {
      const keys = new Set([...Object.keys(first!.agreement), ...Object.keys(agreement)]);
      return [...keys].flatMap((key) => {
        const [here, there] = [first!.agreement[key] ?? "none", agreement[key] ?? "none"];
        return here === there
          ? []
          : [`${key} is ${short(there)} on rank ${index + 1} (${address}), ${short(here)} on rank 0`];
      });
    })
    .slice(0, 5);
}

/** Checksums by their beginning. */
const short = (text: string) => (/^[\da-f]{40,}/.test(text) ? `${text.slice(0, 12)}…` : text);
