#!/usr/bin/env bash
# One run on the eight GPUs of one node. Submit it again whenever it was interrupted: it goes on from its checkpoint.
#
#   sbatch launchers/slurm_node.sh model=llama32_3b dataset=gsm8k update.lora_dropout=0
#SBATCH --job-name=sivgap
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR2@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

python -m sivgap.train launch.processes="${SLURM_GPUS_ON_NODE:-8}" "$@" &
run=$!
# Ahead of the end of its time the run is told to write a checkpoint, and the job queued again.
trap 'kill -USR2 $run' USR2
trap 'kill -TERM $run' TERM
status=0
while kill -0 "$run" 2>/dev/null; do wait "$run" && status=0 || status=$?; done
if [ "$status" = 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
