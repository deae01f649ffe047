import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { checkpointFile, relativeDifference } from "../tiny-run.js";
import { campaignShare, commands, type Figures, folio, folioCommand, type Proof, root, rounded } from "./proof.js";

const model = [
  ...["--dataset=shakespeare_char", "--n_layer=2", "--n_head=4", "--n_embd=64", "--block_size=32"],
  ...["--learning_rate=1e-3", "--min_lr=1e-4", "--warmup_iters=5", "--lr_decay_iters=50"],
  ...[
    "--eval_interval=25",
    "--eval_iters=4",
    "--device=cpu",
    "--dtype=float32",
    "--tensorboard=false",
    "--log_interval=1",
  ],
];
const steps = 50;
const heartbeat = 5;

/** Two network namespaces with addresses of their own, connected by a cable that can be cut. */
const cable = { a: { space: "folio-a", address: "10.77.41.1" }, b: { space: "folio-b", address: "10.77.41.2" } };

/** How a launched training is disturbed; `restarts`: whether it must then finish by itself. */
const disturbances = ["kill -9", "kill -9, restarted", "SIGSTOP", "link down"] as const;
type Disturbance = (typeof disturbances)[number];

export const devicesProof: Proof = {
  name: "devices",
  claim: `Two and four devices, and two processes in two network namespaces of one machine, train the model of one device (losses to 1e-5 over ${steps} steps, weights to 1e-5), bit-equal when repeated; a killed, stopped or disconnected process ends all within the heartbeat and 10 s, is named, and the resumed run ends with the undisturbed one's bits; a machine that cannot reach node 0 ends within the same time and says why`,
  inputs: [...commands("prepare", "train", "launch"), "data/shakespeare_char"],
  async run({ folder, say }) {
    await folio("prepare", "shakespeare_char", `--data_dir=${folder}`);
    connect();
    try {
      const { equal, figures } = await equality(folder, say);
      const refused = await unreachable(folder, say);
      const faults = await disturbed(folder, say);
      const holds = equal && refused.wrong === 0 && faults.wrong === 0;
      return { holds, figures: { ...figures, refused, faults } };
    } finally {
      disconnect();
    }
  },
};

// ---------------------------------------------------------------------------------------------------------- equality

/** One device with a batch of twice as many rows, against several that share the rows. */
async function equality(folder: string, say: (line: string) => void) {
  const figures: Record<string, Figures> = {};
  let equal = true;
  for (const dropout of [0, 0.2]) {
    for (const micros of [1, 4]) {
      const name = `dropout ${dropout}, accumulation ${micros}`;
      const run = (more: string) => path.join(folder, `${dropout}-${micros}-${more}`);
      const common = [...model, `--data_dir=${folder}`, `--max_iters=${steps}`, `--dropout=${dropout}`];
      const share = (rows: number, devices: number) => [
        `--batch_size=${rows}`,
        `--gradient_accumulation_steps=${micros * devices}`,
      ];
      const train = (more: string, flags: readonly string[]) =>
        folio("train", ...common, `--out_dir=${run(more)}`, ...flags);
      await train("one", [...share(16, 1)]);
      for (const again of ["", "-again"]) {
        await train(`two${again}`, [...share(8, 2), "--devices=2"]);
        await train(`four${again}`, [...share(4, 4), "--devices=4"]);
        await launchPair([...common, ...share(8, 2)], run(`machines${again}`)).ended();
      }
      const found: Record<string, Figures> = {};
      for (const more of ["two", "four", "machines"]) {
        const { loss, weights } = differences(run("one"), run(more));
        const bits = ["model", "optimizer"].every((file) =>
          checkpointFile(run(more), `${file}.safetensors`).equals(
            checkpointFile(run(`${more}-again`), `${file}.safetensors`),
          ),
        );
        equal &&= loss <= 1e-5 && weights <= 1e-5 && bits;
        found[more] = {
          loss: Number(loss.toPrecision(2)),
          weights: Number(weights.toPrecision(2)),
          bitEqualAgain: bits,
        };
      }
      figures[name] = found;
      say(`${name}: ${JSON.stringify(found)}`);
    }
  }
  return { equal, figures };
}

function differences(one: string, other: string): { loss: number; weights: number } {
  const losses = (run: string) => readRunLog(run).flatMap((record) => (record.kind === "iter" ? [record.loss] : []));
  const [a, b] = [losses(one), losses(other)];
  if (a.length !== steps || b.length !== steps) throw new Error(`${other} has ${b.length} of ${steps} steps`);
  const [p, q] = [openCheckpoint(one, "last").params, openCheckpoint(other, "last").params];
  const loss = Math.max(...a.map((value, i) => Math.abs(value - b[i]!) / value));
  return { loss, weights: relativeDifference(p, q) };
}

// ------------------------------------------------------------------------------------------------------ unreachable

/** Each way in which machines do not find each other, three times. */
async function unreachable(folder: string, say: (line: string) => void) {
  const command = [...model, `--data_dir=${folder}`, "--batch_size=8", "--gradient_accumulation_steps=2"];
  const outDir = path.join(folder, "refused");
  const start = (node: number, address?: string) => launchNode(node, command, { outDir, address });
  const ways: Record<string, { readonly run: () => Promise<Ended>; readonly says: RegExp }> = {
    "nobody listens": {
      run: () => start(1).ended(),
      says: /node 0 cannot be reached at 10\.77\.41\.1:1234 for 5 s \(nobody listens there\)/,
    },
    "the network is down": {
      run: async () => {
        connectLink("down");
        const ended = await start(1).ended();
        connectLink("up");
        return ended;
      },
      says: /node 0 cannot be reached at 10\.77\.41\.1:1234 for 5 s \(/,
    },
    "another machine's address": {
      run: () => start(0, cable.b.address).ended(),
      says: /10\.77\.41\.2 is not an address of this machine; --master_addr is the address of node 0/,
    },
    "the port is taken": {
      run: async () => {
        const first = start(0);
        await first.says(/waiting for 2 nodes/);
        const second = await start(0).ended();
        first.stop();
        await first.ended();
        return second;
      },
      says: /port 1234 of 10\.77\.41\.1 is taken/,
    },
  };
  let [wrong, longest] = [0, 0];
  const rounds = Math.max(1, Math.round(3 * campaignShare));
  for (let round = 0; round < rounds; round++) {
    for (const [name, { run, says }] of Object.entries(ways)) {
      const begun = performance.now();
      const { code, output } = await run();
      const seconds = (performance.now() - begun) / 1000;
      longest = Math.max(longest, seconds);
      const right = code === 1 && says.test(output) && seconds < heartbeat + 10 && !fs.existsSync(outDir);
      if (!right) wrong++;
      say(`${name}: ended after ${seconds.toFixed(1)} s with ${code}${right ? "" : `, wrong: ${output.trim()}`}`);
    }
  }
  return { runs: rounds * Object.keys(ways).length, wrong, longestSeconds: rounded(longest, 1) };
}

// ------------------------------------------------------------------------------------------------------------ faults

async function disturbed(folder: string, say: (line: string) => void) {
  const flags = [
    ...model,
    `--data_dir=${folder}`,
    "--batch_size=8",
    "--gradient_accumulation_steps=2",
    "--dropout=0.1",
  ];
  // Long enough that each disturbance comes before the end.
  const command = [...flags, "--max_iters=1000", "--save_interval=20", "--keep_checkpoints=2"];
  const whole = path.join(folder, "undisturbed");
  await launchPair(command, whole).ended();
  const reference = checkpointFile(whole, "model.safetensors");
  const rounds = Math.max(1, Math.round(5 * campaignShare));
  let [runs, undisturbed, unnamed, late, unequal, left, longest] = [0, 0, 0, 0, 0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    for (const kind of disturbances) {
      const outDir = path.join(folder, `fault-${runs++}`);
      const pair = launchPair(command, outDir, kind === "kill -9, restarted" ? ["--max_restarts=1"] : []);
      await pair.until(() => fs.existsSync(path.join(outDir, "checkpoint", "last")));
      await setTimeout(Math.random() * 1500);
      const victim = Math.random() < 0.5 ? 0 : 1;
      const begun = performance.now();
      disturb(kind, pair.rank(victim));
      const { codes, outputs } = await pair.ended(false);
      const seconds = (performance.now() - begun) / 1000;
      if (kind === "link down") connectLink("up");
      const finished = codes.every((code) => code === 0);
      const again = outputs[0]!.includes("Starting all again");
      if (finished !== (kind === "kill -9, restarted") || again !== finished) undisturbed++;
      if (kind !== "kill -9, restarted") {
        longest = Math.max(longest, seconds);
        if (seconds > heartbeat + 10) late++;
        // Of a cut cable each side knows only that the other one is gone.
        const named =
          kind === "link down" ? /node [01] \(|to node 0 was lost/ : new RegExp(`rank ${victim} \\(process`);
        if (!finished && !outputs.every((output) => named.test(output))) unnamed++;
      }
      if (!finished) await launchPair([...command, "--init_from=resume"], outDir).ended();
      if (!checkpointFile(outDir, "model.safetensors").equals(reference)) unequal++;
      left += processes(outDir).length;
      say(
        `${kind} of rank ${victim}: ${finished ? "finished" : `ended after ${seconds.toFixed(1)} s`}; unequal ${unequal}, unnamed ${unnamed}, late ${late}, left ${left}`,
      );
    }
  }
  const wrong = undisturbed + unnamed + late + unequal + left;
  return {
    runs,
    wrong,
    undisturbed,
    unnamed,
    late,
    unequal,
    processesLeft: left,
    longestSeconds: rounded(longest, 1),
    heartbeat,
  };
}

function disturb(kind: Disturbance, rank: number | undefined): void {
  if (kind === "link down") connectLink("down");
  else if (rank === undefined) throw new Error("the rank to disturb is not there");
  else process.kill(rank, kind === "SIGSTOP" ? "SIGSTOP" : "SIGKILL");
}

/** Processes that name this folder. */
function processes(outDir: string): number[] {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`${outDir}\0`) ? [Number(pid)] : [];
      } catch {
        return []; // it has ended
      }
    });
}

// ---------------------------------------------------------------------------------------------------------- machines

const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "pipe" });
const connectLink = (state: "up" | "down") => ip("-n", cable.a.space, "link", "set", "folio0", state);

function connect(): void {
  disconnect();
  for (const { space } of [cable.a, cable.b]) ip("netns", "add", space);
  ip("link", "add", "folio0", "netns", cable.a.space, "type", "veth", "peer", "name", "folio1", "netns", cable.b.space);
  for (const [{ space, address }, name] of [
    [cable.a, "folio0"],
    [cable.b, "folio1"],
  ] as const) {
    ip("-n", space, "addr", "add", `${address}/24`, "dev", name);
    for (const link of ["lo", name]) ip("-n", space, "link", "set", link, "up");
  }
}

function disconnect(): void {
  for (const { space } of [cable.a, cable.b]) {
    try {
      ip("netns", "del", space);
    } catch {
      // There was none.
    }
  }
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

interface NodeOptions {
  readonly outDir: string;
  readonly flags?: readonly string[];
  /** Of node 0. */
  readonly address?: string | undefined;
}

/** nanoGPT's command line for one of two machines, in its namespace. */
function launchNode(node: number, args: readonly string[], { outDir, flags = [], address }: NodeOptions) {
  const { space } = node === 0 ? cable.a : cable.b;
  const places = ["--nproc_per_node=1", "--nnodes=2", `--node_rank=${node}`, "--master_port=1234"];
  const command = [
    ...["netns", "exec", space, process.execPath, folioCommand, "launch", ...places],
    ...[`--master_addr=${address ?? cable.a.address}`, `--heartbeat_s=${heartbeat}`, ...flags],
    ...["train.py", ...args, `--out_dir=${outDir}`],
  ];
  const child: ChildProcess = spawn("ip", command, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (chunk: Buffer) => (output += chunk));
  const closed = new Promise<Ended>((resolve) => child.once("close", (code) => resolve({ code, output })));
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      if (child.exitCode !== null) throw new Error(`it ended early:\n${output}`);
      await setTimeout(20);
    }
  };
  return {
    /** The process of its rank. */
    rank(): number | undefined {
      // `ip netns exec` becomes the command.
      const children = fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
      return children.map(Number).find((each) => processes(outDir).includes(each));
    },
    until,
    says: (pattern: RegExp) => until(() => pattern.test(output)),
    stop: () => child.kill("SIGINT"),
    ended: () => closed,
  };
}

/** nanoGPT's two command lines, one in each namespace. */
function launchPair(args: readonly string[], outDir: string, flags: readonly string[] = []) {
  const nodes = [0, 1].map((node) => launchNode(node, args, { outDir, flags }));
  return {
    rank: (number: number) => nodes[number]!.rank(),
    until: (condition: () => boolean) => Promise.race(nodes.map((node) => node.until(condition))),
    async ended(mustFinish = true) {
      const all = await Promise.all(nodes.map((node) => node.ended()));
      const [codes, outputs] = [all.map(({ code }) => code), all.map(({ output }) => output)];
      if (mustFinish && codes.some((code) => code !== 0))
        throw new Error(`it ended with ${codes}:\n${outputs.join("\n")}`);
      return { codes, outputs };
    },
  };
}
