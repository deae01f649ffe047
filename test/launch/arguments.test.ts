import os from "node:os";
import { describe, expect, test } from "vitest";
import { firstHost, readArguments, tasksOf } from "../../lib/launch/arguments.js";
import { devicesOf } from "../../lib/launch/launcher.js";

const read = (line: string, environment: Record<string, string> = {}) => readArguments(line.split(" "), environment);

describe("readArguments()", () => {
  test("reads nanoGPT's command lines for torchrun as they are", () => {
    expect(read("--standalone --nproc_per_node=8 train.py config/train_gpt2.py")).toEqual({
      options: {
        ...{
          nodes: 1,
          node: 0,
          ranksPerNode: 8,
          here: { launchers: 1, launcher: 0 },
          masterAddress: "127.0.0.1",
          masterPort: 0,
        },
        ...{ maxRestarts: 0, heartbeatSeconds: 30, stepTimeoutSeconds: 1800, trustedNetwork: false },
      },
      command: ["config/train_gpt2.py"],
    });
    const two = "--nproc_per_node=8 --nnodes=2 --node_rank=1 --master_addr=123.456.123.456 --master_port=1234 train.py";
    expect(read(two)).toMatchObject({
      options: {
        nodes: 2,
        node: 1,
        ranksPerNode: 8,
        here: { launchers: 1, launcher: 0 },
        masterAddress: "123.456.123.456",
        masterPort: 1234,
      },
      command: [],
    });
  });

  test("takes both spellings, values after a space, and everything after train as it is", () => {
    const { options, command } = read(
      "--nproc-per-node 2 --max-restarts=3 --heartbeat_s 5 --trusted_network train cpu_demo --max_iters=5 --standalone",
    );
    expect(options).toMatchObject({ ranksPerNode: 2, maxRestarts: 3, heartbeatSeconds: 5, trustedNetwork: true });
    expect(command).toEqual(["cpu_demo", "--max_iters=5", "--standalone"]);
    expect(read("--nnodes=2 --node_rank=0 --master_addr=a train").options.masterPort).toBe(29_500);
  });

  test("without flags, takes the places from Slurm's variables", () => {
    const slurm = {
      ...{ SLURM_STEP_NUM_TASKS: "4", SLURM_PROCID: "3", SLURM_JOB_ID: "41234", SLURM_STEP_NODELIST: "gpu[07-09,12]" },
    };
    expect(read("train", slurm).options).toMatchObject({
      ...{ nodes: 4, node: 3, ranksPerNode: 1, masterAddress: "gpu07", masterPort: 20_634 },
    });
    expect(read("--nproc_per_node=2 train", slurm).options).toMatchObject({ nodes: 4, ranksPerNode: 2 });
    // What is said counts more, and one task is one machine.
    expect(read("--standalone train", slurm).options).toMatchObject({ nodes: 1, masterAddress: "127.0.0.1" });
    expect(read("train", { ...slurm, SLURM_STEP_NUM_TASKS: "1" }).options).toMatchObject({ nodes: 1, node: 0 });
    expect(read("train", { ...slurm, SLURM_STEP_ID: "2" }).options.masterPort).toBe(20_636);
    expect(read("--master_port=7 train", slurm).options).toMatchObject({ nodes: 4, masterPort: 7 });
    // A batch script is not one of the tasks.
    const batch = { SLURM_NTASKS: "2", SLURM_PROCID: "0", SLURM_JOB_ID: "41234" };
    expect(read("--nproc_per_node=2 train", batch).options).toMatchObject({ nodes: 1, ranksPerNode: 2 });
  });

  test("tells Slurm's tasks on one machine apart", () => {
    const slurm = { SLURM_STEP_NUM_TASKS: "7", SLURM_PROCID: "6", SLURM_STEP_NODELIST: "a[1-4]", SLURM_NODEID: "3" };
    const { here } = read("train", { ...slurm, SLURM_LOCALID: "0", SLURM_STEP_TASKS_PER_NODE: "2(x3),1" }).options;
    expect(here).toEqual({ launchers: 1, launcher: 0 });
  });

  test("finds the first host of Slurm's list", () => {
    expect(["a", "a,b", "n[3-5]", "n[003,7],m1", "n[1-2]-ib"].map(firstHost)).toEqual([
      "a",
      "a",
      "n3",
      "n003",
      "n1-ib",
    ]);
  });

  test.each([
    ["", "no command is given; after the flags comes train"],
    ["--standalone sample", "sample cannot be launched; after the flags comes train"],
    ["--nproc_per_nod=2 train", "there is no flag --nproc_per_nod; did you mean --nproc_per_node?"],
    ["--rdzv_backend=c10d train", "there is no flag --rdzv_backend; the machines meet at --master_addr"],
    ["--frobnicate train", "there is no flag --frobnicate; `folio launch --help` lists them"],
    ["--nproc_per_node=0 train", "--nproc_per_node is 0; wanted a whole number from 1 to 1024"],
    ["--nproc_per_node=gpu train", "--nproc_per_node is gpu; wanted a whole number"],
    ["--nnodes=2 --node_rank=2 --master_addr=a train", "--node_rank is 2; wanted a whole number from 0 to 1"],
    ["--nnodes=2 --master_addr=a train", "--nnodes needs --node_rank"],
    ["--nnodes=2 --node_rank=0 train", "--nnodes needs --master_addr"],
    ["--nnodes=2 --node_rank=0 --master_addr=a --master_port=0 train", "--master_port is 0; with several machines"],
    ["--standalone --nnodes=2 train", "--standalone means one machine, so --nnodes is left out"],
    ["--standalone=maybe train", "--standalone is maybe; wanted true or false"],
    ["--heartbeat_s=2 train", "--heartbeat_s is 2; wanted a whole number from 3 to 86400"],
    ["--master_port", "--master_port has no value"],
  ])("refuses %j", (line, message) => {
    const args = line === "" ? [] : line.split(" ");
    expect(() => readArguments(args, {})).toThrow(`Cannot launch: ${message}`);
  });
});

describe("a rank's devices", () => {
  test("are those of its number on the machine, of what Slurm shows its task", () => {
    expect([0, 2, 3].map((node) => tasksOf("2(x3),1", node))).toEqual([2, 2, 1]);
    const second = { here: { launchers: 2, launcher: 1 }, ranksPerNode: 2 };
    // All GPUs of the machine are shown to each task, or only its own.
    const gpus = (shown?: string) => devicesOf(1, second, { CUDA_VISIBLE_DEVICES: shown }).CUDA_VISIBLE_DEVICES;
    expect([undefined, "0,1,2,3", "4,5", "GPU-1", ""].map(gpus)).toEqual(["3", "3", "5", "-1", undefined]);
    const threads = (environment: Record<string, string>) => devicesOf(1, second, environment).TF_NUM_INTRAOP_THREADS;
    const cores = os.availableParallelism();
    expect(threads({})).toBe(String(Math.max(1, Math.floor(cores / 4))));
    expect(threads({ SLURM_CPUS_ON_NODE: "1" })).toBe("1");
    expect(threads({ TF_NUM_INTRAOP_THREADS: "5" })).toBeUndefined();
  });
});
