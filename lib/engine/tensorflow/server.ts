/**
 * TensorFlow's server, by which the processes of a cluster take means over their devices: it speaks gRPC, encrypts nothing
 * and trusts whoever reaches its port. Only `folio launch` starts one, bound to one address (launch/).
 */
import { PbfWriter } from "pbf";
import { capi, checked } from "./c-api.js";
import { sessionConfig } from "./session-config.js";

/** A process in a cluster. */
export interface ClusterMember {
  readonly rank: number;
  /** `address:port` of every process's server, by rank. */
  readonly addresses: readonly string[];
}

/** What a session needs to compute with the other processes of a cluster. */
export interface Cluster {
  readonly rank: number;
  /** The number of processes, each with one device. */
  readonly size: number;
  /** The address of this process's server, as TensorFlow writes it. */
  readonly target: string;
}

/** Starts this process's server, which ends with the process. @throws {Error} when it cannot listen */
export function startServer({ rank, addresses }: ClusterMember): Cluster {
  const definition = serverDefinition({ rank, addresses });
  const c = capi();
  const server = checked("Cannot make TensorFlow's server", (status) =>
    c.newServer(definition, definition.length, status),
  );
  checked("Cannot start TensorFlow's server", (status) => c.startServer(server, status));
  return { rank, size: addresses.length, target: c.serverTarget(server) as string };
}

/** A serialized ServerDef (tensorflow_server.proto). */
function serverDefinition({ rank, addresses }: ClusterMember): Uint8Array {
  const writer = new PbfWriter();
  const writeTask = (task: number, entry: PbfWriter) => {
    entry.writeVarintField(1, task);
    entry.writeStringField(2, addresses[task]!);
  };
  const writeJob = (_: unknown, job: PbfWriter) => {
    job.writeStringField(1, "worker");
    for (const task of addresses.keys()) job.writeMessage(2, writeTask, task);
  };
  writer.writeMessage(1, (_, cluster) => cluster.writeMessage(1, writeJob, undefined), undefined);
  writer.writeStringField(2, "worker");
  writer.writeVarintField(3, rank);
  const config = sessionConfig({ dtype: "float32", xla: false, device: "cpu", inOneThread: false, replicas: 1, rank });
  writer.writeBytesField(4, config);
  writer.writeStringField(5, "grpc");
  return writer.finish();
}
