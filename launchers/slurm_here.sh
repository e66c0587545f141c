#!/usr/bin/env bash
# A SLURM cluster of this one machine, from Debian's packages, for trying the submitit_slurm launcher. Needs root.
#
#   launchers/slurm_here.sh start   installs slurm-wlm if need be, starts munge, the controller and one node
#   launchers/slurm_here.sh stop
set -euo pipefail

state=/tmp/sivgap-slurm

start() {
  command -v slurmctld >/dev/null || { apt-get update -q; apt-get install -y -q slurm-wlm munge; } >/dev/null 2>&1
  mkdir -p "$state"/{ctld,d} /run/munge /var/log/munge /var/lib/munge
  chown -R munge: /run/munge /var/log/munge /var/lib/munge /etc/munge
  chmod 755 /run/munge
  pgrep -x munged >/dev/null || runuser -u munge -- munged --force
  cat > "$state/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=$(hostname)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/d
SlurmctldPidFile=$state/ctld.pid
SlurmdPidFile=$state/d.pid
SlurmctldLogFile=$state/ctld.log
SlurmdLogFile=$state/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobRequeue=1
KillWait=30
MpiDefault=none
NodeName=$(hostname) CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  export SLURM_CONF="$state/slurm.conf"
  pgrep -x slurmctld >/dev/null || slurmctld
  pgrep -x slurmd >/dev/null || slurmd
  for _ in $(seq 60); do
    sinfo -h -o %T 2>/dev/null | grep -q idle && { sinfo; echo "export SLURM_CONF=$SLURM_CONF"; return; }
    sleep 0.5
  done
  echo "SLURM does not come up; see $state/*.log" >&2
  exit 1
}

stop() {
  pkill -x slurmd || true
  pkill -x slurmctld || true
  rm -rf "$state"
}

case "${1:-}" in
  start) start ;;
  stop) stop ;;
  *) sed -n '2,6p' "$0"; exit 2 ;;
esac
