#!/bin/sh
# Ends what start.sh started in the folder.
folder=$1
export SLURM_CONF="$folder/slurm.conf"
scancel --user=root 2>/dev/null
for pid in "$folder/slurmd.pid" "$folder/slurmctld.pid" "$folder/munge/pid"; do
  [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null
done
exit 0
