/**
 * The messages of a launched training. Each machine ("node") has a launcher, which starts the processes that train
 * ("ranks") and talks to them through Node's IPC; the launchers talk to the coordinator on node 0 over one TCP connection
 * each, one JSON object per line.
 */
import type { Socket } from "node:net";
import * as z from "zod";
import type { Agreement } from "../train/open-run.js";

/** From a rank to its launcher. Its signs of life come by a pipe (life.ts). */
export type FromRank =
  /** It has opened its run and waits for the others; its server will listen on this port. */
  | { readonly kind: "join"; readonly port: number; readonly agreement: Agreement }
  /** It has computed a step, or a part of one. */
  | { readonly kind: "progress" };

/** From a launcher to its rank: the addresses of all ranks' servers. */
export interface ToRank {
  readonly kind: "cluster";
  readonly addresses: readonly string[];
}

const count = z.int().min(0);

/** From a launcher to the coordinator, which checks it, since anybody may connect. */
export const fromNode = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("hello"), node: count, ranks: z.array(count).readonly(), nodes: count }),
  z.object({ kind: z.literal("join"), rank: count, port: count, agreement: z.record(z.string(), z.string()) }),
  z.object({ kind: z.literal("beat") }),
  /** Something of it has failed. */
  z.object({ kind: z.literal("fault"), message: z.string() }),
  /** Its user wants to stop the training. */
  z.object({ kind: z.literal("stop") }),
  /** Its ranks were killed, as it was told to. */
  z.object({ kind: z.literal("killed") }),
  /** Its ranks have ended by themselves. */
  z.object({ kind: z.literal("done"), code: z.int() }),
]);
export type FromNode = z.infer<typeof fromNode>;

/** From the coordinator to a launcher. */
export type ToNode =
  /** Start the ranks; from the second time on they resume. */
  | { readonly kind: "start"; readonly again: boolean }
  | { readonly kind: "cluster"; readonly addresses: readonly string[] }
  | { readonly kind: "beat" }
  /** Kill the ranks, and wait for the next start. */
  | { readonly kind: "kill"; readonly message: string }
  /** Kill what still runs, and end. */
  | { readonly kind: "end"; readonly code: number; readonly message?: string };

/** Milliseconds between two signs of life. */
export const BEAT_MS = 1000;

/** The longest line; an agreement takes a few thousand letters. */
const MOST_LETTERS = 1_000_000;

export function send<Message>(socket: Socket, message: Message): void {
  if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Calls `hear` with each message as `read` makes it; a line that is not one ends the connection. */
export function listen<Message>(
  socket: Socket,
  hear: (message: Message) => void,
  read = (content: unknown) => content as Message,
): void {
  let rest = "";
  socket.on("error", () => {}); // "close" follows
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    if (rest.length > MOST_LETTERS) socket.destroy();
    for (const line of lines) {
      if (socket.destroyed) return;
      let message: Message;
      try {
        message = read(JSON.parse(line));
      } catch {
        socket.destroy();
        return;
      }
      hear(message);
    }
  });
}
