/** A rank's side of a launched training: it gives signs of life, and joins the others when its run is open. */
import { type Cluster, startServer } from "../engine/tensorflow/server.js";
import type { Agreement, TrainOptions } from "../train/open-run.js";
import { freePort, listeningAddresses } from "./address.js";
import { giveSignsOfLife } from "./life.js";
import { BEAT_MS, type FromRank, type ToRank } from "./messages.js";

/** Where a rank stands, from its launcher in the environment variable FOLIO_RANK. */
export interface Place {
  readonly rank: number;
  readonly size: number;
  /** The address of its server. */
  readonly address: string;
  /** Whether the launcher keeps the server to this address. */
  readonly bound: boolean;
  /** The command that resumes the training. */
  readonly resume: string;
}

/** The place of this process; undefined if it was not started by `folio launch`. */
export function rankHere(): Place | undefined {
  const place = process.env.FOLIO_RANK;
  return place && process.send ? (JSON.parse(place) as Place) : undefined;
}

/** What train() needs to share its steps with the other ranks; `progress` is to be called whenever something is computed. */
export function joinOthers(
  place: Place,
): Required<Pick<TrainOptions, "rank" | "join">> & { readonly progress: () => void } {
  const { rank } = place;
  const tell = (message: FromRank) => process.send?.(message);
  giveSignsOfLife();
  let told = 0;
  // The launcher was killed: nobody would end this process if another one failed.
  process.on("disconnect", () => process.exit(1));
  return {
    rank,
    progress() {
      if (performance.now() - told < BEAT_MS) return;
      told = performance.now();
      tell({ kind: "progress" });
    },
    async join(agreement: Agreement): Promise<Cluster> {
      const port = await freePort(place.address);
      const answer = new Promise<ToRank>((resolve) => process.once("message", resolve));
      tell({ kind: "join", port, agreement });
      const { addresses } = await answer;
      const cluster = startServer({ rank, addresses });
      if (place.bound) checkListening(place.address);
      process.channel?.unref();
      return cluster;
    },
  };
}

/** @throws {Error} when this process listens on another address, too */
function checkListening(only: string): void {
  const others = listeningAddresses().filter((address) => address !== only);
  if (others.length === 0) return;
  throw new Error(`Cannot train: TensorFlow's server listens on ${others.join(", ")}, not only on ${only}.`);
}
