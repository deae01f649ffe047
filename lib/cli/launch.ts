/**
 * `folio launch`: trains in several processes, on one machine or more, in torchrun's place. lib/launch/ starts and watches
 * them; each is `folio train` with one device.
 */

import { readArguments } from "../launch/arguments.js";
import { launch } from "../launch/launcher.js";
import { readOverrides } from "../settings/config-files.js";
import { defaultSettings } from "../settings/settings.js";
import { lastCheckpoint } from "../weights/checkpoint.js";
import { stopOnSignals } from "./shared/stop-signals.js";
import { type Io, styled } from "./shared/terminal.js";
import { resumeArguments, resumeCommand } from "./train.js";

export function help(): string {
  return `folio launch: trains in several processes that share each step, on one machine or several, as torchrun does.

Usage: folio launch [--flag=value …] train [config file …] [--setting=value …]

Each process has one GPU, or its part of the processor's threads, and computes its part of gradient_accumulation_steps,
which must be a multiple of their number. On one machine, --devices of \`folio train\` does the same in one process.

  folio launch --standalone --nproc_per_node=8 train train_gpt2
  folio launch --nproc_per_node=8 --nnodes=2 --node_rank=0 --master_addr=10.0.0.1 --master_port=1234 train train_gpt2
  folio launch --nproc_per_node=8 --nnodes=2 --node_rank=1 --master_addr=10.0.0.1 --master_port=1234 train train_gpt2
  srun folio launch train train_gpt2              one process per Slurm task; a requeued job resumes

  --nproc_per_node=1       processes on this machine
  --nnodes=1               machines
  --node_rank              this machine's number, from 0
  --master_addr            address of node 0
  --master_port=29500      a free port of node 0
  --standalone             one machine, any free port
  --max_restarts=0         how often to start all again from the last checkpoint when a process fails
  --heartbeat_s=30         seconds without a sign of life after which a process or a machine counts as failed (a process
                           has 120 s more to give its first); also how long a machine tries to reach node 0
  --step_timeout_s=1800    seconds without a finished micro-batch, evaluation batch or save after which a process counts
                           as stuck
  --trusted_network        also use a public address, and let TensorFlow's servers listen on every interface where they
                           cannot be kept to one

All processes must have the same settings, data, versions and variant of Folio's operations; otherwise none of them
starts. Only rank 0 logs and saves; to resume, all need the checkpoint (a shared folder). Ctrl-C on any machine saves and
ends all.

TensorFlow's servers have no password and no encryption: anyone who reaches their ports, also another user of one of these
machines, can read and write your files. They are kept to the address that reaches node 0, which must be private. Use
machines that only you use, on a network that only they are on. On one machine, \`folio train --devices\` opens no port.
NCCL's variables are passed on: NCCL_IB_DISABLE=1 where there is no InfiniBand.`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { options, command } = readArguments(args);
  // A mistake in the settings is one message here, rather than one from each process.
  const { values } = await readOverrides("train", command);
  const outDir = typeof values.outDir === "string" ? values.outDir : defaultSettings.outDir;
  const size = options.nodes * options.ranksPerNode;
  const stop = stopOnSignals(io, (reason) => {
    io.stderr.write(`${styled(io.stderr, "yellow", `${reason}: all processes finish this step, and rank 0 saves`)}\n`);
  });
  try {
    const before = lastCheckpoint(outDir);
    // Without a checkpoint of its own, a restart begins anew.
    const again = () => (lastCheckpoint(outDir) === before ? command : resumeArguments(command));
    // Slurm starts a requeued job with the same command.
    const inSlurm = process.env.SLURM_STEP_ID !== undefined && options.nodes > 1;
    const requeued = Number(process.env.SLURM_RESTART_COUNT ?? 0) > 0;
    const code = await launch({
      options,
      command: (restarted) => [
        ...[process.execPath, ...process.execArgv, process.argv[1]!, "train"],
        ...(restarted ? again() : requeued && before !== undefined ? resumeArguments(command) : command),
        `--devices=${size}`,
      ],
      resume: `${inSlurm ? "srun " : ""}${resumeCommand("launch", args)}`,
      say: (line) => io.stderr.write(`${line}\n`),
      signal: stop.signal,
    });
    return stop.exitCode() ?? code;
  } finally {
    stop.close();
  }
}
