/** The coordinator with launchers that only talk: who meets, and how it ends. */
import net from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { addressOf, isPublic } from "../../lib/launch/address.js";
import { type CoordinatorOptions, startCoordinator } from "../../lib/launch/coordinator.js";
import { type FromNode, listen, send, type ToNode } from "../../lib/launch/messages.js";

async function started(more: Partial<CoordinatorOptions> = {}) {
  const said: string[] = [];
  const options = { address: "127.0.0.1", port: 0, nodes: 2, ranksPerNode: 1, maxRestarts: 0, heartbeatSeconds: 30 };
  const coordinator = await startCoordinator({ ...options, say: (line) => said.push(line), ...more });
  onTestFinished(() => coordinator.close());
  return { said, port: coordinator.port };
}

/** A launcher: what it says, and what it is told, in order. */
async function launcher(port: number) {
  const socket = net.connect(port, "127.0.0.1");
  const heard: ToNode[] = [];
  let waiting: (() => void) | undefined;
  listen<ToNode>(socket, (message) => {
    if (message.kind === "beat") return;
    heard.push(message);
    waiting?.();
  });
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  onTestFinished(() => void socket.destroy());
  return {
    socket,
    say: (message: FromNode) => send(socket, message),
    hello: (node: number, more: Partial<Extract<FromNode, { kind: "hello" }>> = {}) =>
      send<FromNode>(socket, { kind: "hello", node, ranks: [node], nodes: 2, ...more }),
    async told(): Promise<ToNode> {
      while (heard.length === 0) {
        await new Promise<void>((resolve) => {
          waiting = resolve;
        });
      }
      return heard.shift()!;
    },
  };
}

async function pair(more: Partial<CoordinatorOptions> = {}) {
  const { said, port } = await started(more);
  const nodes = [await launcher(port), await launcher(port)] as const;
  for (const [index, node] of nodes.entries()) node.hello(index);
  for (const node of nodes) expect(await node.told()).toEqual({ kind: "start", again: false });
  return { said, port, nodes };
}

const join = (rank: number, agreement: Record<string, string> = { seed: "1" }): FromNode => ({
  ...{ kind: "join", rank, port: 50 + rank, agreement },
});

describe("the coordinator", () => {
  test("starts all once all are there, lets those meet that agree, and ends with their exit code", async () => {
    const { nodes } = await pair();
    nodes[1].say(join(1));
    nodes[0].say(join(0));
    const cluster = { kind: "cluster", addresses: ["127.0.0.1:50", "127.0.0.1:51"] };
    for (const node of nodes) expect(await node.told()).toEqual(cluster);
    nodes[0].say({ kind: "done", code: 0 });
    nodes[1].say({ kind: "done", code: 130 });
    for (const node of nodes) expect(await node.told()).toEqual({ kind: "end", code: 130 });
  });

  test("names what differs, and where, and does not try again", async () => {
    const { nodes } = await pair({ maxRestarts: 5 });
    const data = "a".repeat(64);
    nodes[0].say(join(0, { seed: "1", dropout: "0", data }));
    nodes[1].say(join(1, { seed: "2", dropout: "0", data: "b".repeat(64) }));
    for (const node of nodes) {
      expect(await node.told()).toEqual({
        kind: "end",
        code: 1,
        message: `Cannot train together: seed is 2 on rank 1 (127.0.0.1:51), 1 on rank 0; data is bbbbbbbbbbbb… on rank 1 (127.0.0.1:51), aaaaaaaaaaaa… on rank 0. All processes need the same.`,
      });
    }
  });

  test("starts all again after a failure, as often as it may, and then ends with its message", async () => {
    const { nodes, said } = await pair({ maxRestarts: 1 });
    nodes[1].say({ kind: "fault", message: "rank 1 failed." });
    nodes[0].say({ kind: "fault", message: "rank 0 failed, because rank 1 did." });
    for (const node of nodes) expect(await node.told()).toEqual({ kind: "kill", message: "rank 1 failed." });
    for (const node of nodes) node.say({ kind: "killed" });
    for (const node of nodes) expect(await node.told()).toEqual({ kind: "start", again: true });
    expect(said.at(-1)).toBe("rank 1 failed. Starting all again from the last checkpoint (1 of 1).");
    // Both join anew.
    for (const [rank, node] of nodes.entries()) node.say(join(rank));
    for (const node of nodes) expect(await node.told()).toMatchObject({ kind: "cluster" });
    nodes[0].say({ kind: "fault", message: "rank 0 failed." });
    for (const node of nodes) expect(await node.told()).toEqual({ kind: "end", code: 1, message: "rank 0 failed." });
  });

  test("ends the others when a launcher is lost, and when one is silent", async () => {
    const { nodes } = await pair();
    nodes[1].socket.destroy();
    expect(await nodes[0].told()).toMatchObject({
      ...{
        kind: "end",
        code: 1,
        message: expect.stringMatching(/connection to node 1 \(127\.0\.0\.1, rank 1\) was lost/),
      },
    });
    const silent = await pair({ heartbeatSeconds: 2 });
    const beating = setInterval(() => silent.nodes[0].say({ kind: "beat" }), 200);
    onTestFinished(() => clearInterval(beating));
    expect(await silent.nodes[0].told()).toMatchObject({
      message: "Training ended: node 1 (127.0.0.1, rank 1) has not answered for 2 s.",
    });
  });

  test("refuses a launcher with other numbers, without harm to the others", async () => {
    const { port } = await started();
    const first = await launcher(port);
    first.hello(0);
    const refused = async (node: number, more: Parameters<typeof first.hello>[1], message: RegExp) => {
      const other = await launcher(port);
      other.hello(node, more);
      expect(await other.told()).toMatchObject({ kind: "end", code: 1, message: expect.stringMatching(message) });
    };
    await refused(0, {}, /127\.0\.0\.1 and 127\.0\.0\.1 both have --node_rank=0/);
    await refused(1, { nodes: 3 }, /--nnodes is 3 on node 1 and 2 on node 0/);
    await refused(1, { ranks: [2, 3] }, /--nproc_per_node is 2 on node 1 and 1 on node 0/);
    await refused(2, {}, /there is no node 2 with the ranks 2/);
    await refused(1, { ranks: [0] }, /there is no node 1 with the ranks 0/);
    for (const garbage of ["GET / HTTP/1.1", "null", '{"kind":"hello"}', '{"kind":"fault","message":"no node"}']) {
      const stranger = await launcher(port);
      stranger.socket.write(`${garbage}\n`);
      await new Promise((resolve) => stranger.socket.once("close", resolve));
    }
    const endless = await launcher(port);
    endless.socket.write(" ".repeat(1_100_000));
    await new Promise((resolve) => endless.socket.once("close", resolve));
    const second = await launcher(port);
    second.hello(1);
    expect(await first.told()).toEqual({ kind: "start", again: false });
  });

  test("lets a launcher speak for its own ranks only, once", async () => {
    for (const rank of [0, 999]) {
      const { nodes } = await pair();
      nodes[1].say(join(rank));
      await new Promise((resolve) => nodes[1].socket.once("close", resolve));
      expect(await nodes[0].told()).toMatchObject({
        kind: "end",
        message: expect.stringMatching(/node 1 .* was lost/),
      });
    }
    const { nodes } = await pair();
    for (let again = 0; again < 2; again++) nodes[1].say(join(1));
    await new Promise((resolve) => nodes[1].socket.once("close", resolve));
  });

  test("ends all when the user stops while nothing is computed, and restarts nothing afterwards", async () => {
    const { port } = await started();
    const first = await launcher(port);
    first.hello(0);
    first.say({ kind: "stop" });
    const nothing = { kind: "end", code: 130, message: expect.stringMatching(/nothing to save/) };
    expect(await first.told()).toMatchObject(nothing);

    const killing = await pair({ maxRestarts: 3 });
    killing.nodes[1].say({ kind: "fault", message: "rank 1 failed." });
    for (const node of killing.nodes) expect(await node.told()).toMatchObject({ kind: "kill" });
    killing.nodes[1].say({ kind: "stop" });
    for (const node of killing.nodes) expect(await node.told()).toMatchObject(nothing);

    const training = await pair({ maxRestarts: 3 });
    for (const [rank, node] of training.nodes.entries()) node.say(join(rank));
    for (const node of training.nodes) expect(await node.told()).toMatchObject({ kind: "cluster" });
    training.nodes[0].say({ kind: "stop" });
    training.nodes[0].say({ kind: "fault", message: "rank 0 failed." });
    for (const node of training.nodes)
      expect(await node.told()).toEqual({ kind: "end", code: 1, message: "rank 0 failed." });
  });

  test("explains a port that is taken, and an address of another machine", async () => {
    const { port } = await started();
    await expect(started({ port })).rejects.toThrow(`Cannot launch: port ${port} of 127.0.0.1 is taken`);
    await expect(started({ address: "192.0.2.1" })).rejects.toThrow(/192\.0\.2\.1 is not an address of this machine/);
  });
});

describe("addresses", () => {
  test("public ones are refused, unless the network is trusted", async () => {
    const own = ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.9", "169.254.1.1", "100.100.0.1"];
    expect(own.filter(isPublic)).toEqual([]);
    expect(["8.8.8.8", "172.32.0.1", "192.169.0.1", "100.128.0.1", "11.0.0.1"].filter((one) => !isPublic(one))).toEqual(
      [],
    );
    await expect(addressOf("8.8.8.8", { trustedNetwork: false })).rejects.toThrow(/8\.8\.8\.8 is a public address/);
    expect(await addressOf("8.8.8.8", { trustedNetwork: true })).toBe("8.8.8.8");
    await expect(addressOf("no-such-host.invalid", { trustedNetwork: false })).rejects.toThrow(/has no IPv4 address/);
  });
});
