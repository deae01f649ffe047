#!/bin/sh
# Ends the processes that start.sh started and waits for their end; the folder can be removed afterwards.
folder=$1
export SLURM_CONF="$folder/slurm.conf"
scancel --user=root 2>/dev/null
for pid in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
  [ -f "$pid" ] || continue
  number=$(cat "$pid")
  kill "$number" 2>/dev/null
  for _ in $(seq 100); do
    kill -0 "$number" 2>/dev/null || break
    sleep 0.1
  done
done
exit 0
