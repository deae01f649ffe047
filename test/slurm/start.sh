#!/bin/sh
# Starts Slurm on this machine only, on loopback: a controller, one node with all cores, no accounting. Needs Debian's
# packages (apt-get install slurm-wlm munge) and root. Keeps everything in the given folder. Prints the path of the
# configuration, for SLURM_CONF. stop.sh FOLDER ends it.
set -eu
folder=$1
mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
host=$(hostname -s)
cores=$(nproc)
memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
port=$((20000 + $$ % 5000 * 2)) # a pair for each process, so that two can be up at once
cat > "$folder/slurm.conf" <<CONF
ClusterName=folio
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=1,batch_sched_delay=1
RequeueExit=
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
sed -i '/^RequeueExit=$/d' "$folder/slurm.conf"
key=$folder/munge/key
[ -f "$key" ] || { dd if=/dev/urandom of="$key" bs=1024 count=1 2>/dev/null; chmod 400 "$key"; }
munged --force --key-file="$key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" >&2
export SLURM_CONF="$folder/slurm.conf"
slurmctld -f "$SLURM_CONF" >&2
slurmd -f "$SLURM_CONF" -N "$host" >&2
for _ in $(seq 100); do
  case $(sinfo --noheader --format=%T 2>/dev/null) in idle*) echo "$SLURM_CONF"; exit 0 ;; esac
  sleep 0.2
done
echo "Slurm did not come up:" >&2
tail -n 5 "$folder"/*.log >&2
exit 1
