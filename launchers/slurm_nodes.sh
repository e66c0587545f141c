#!/usr/bin/env bash
# One run on several nodes of eight GPUs: one task a node, which starts the processes of its node and meets the others at
# the first node's port (20000 and more, by the job's number; MASTER_PORT sets another). Submit it again to go on.
#
#   sbatch --nodes=8 launchers/slurm_nodes.sh model=llama31_8b dataset=gsm8k update.parameters=full launch.shard=true
#SBATCH --job-name=sivgap
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=USR2@300
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

status=0
# A node that dies must not end the step before the others have said why: they notice within 20 seconds themselves.
srun --kill-on-bad-exit=0 --ntasks-per-node=1 \
  python -m sivgap.train launch.processes="${SLURM_GPUS_ON_NODE:-8}" "$@" || status=$?
if [ "$status" = 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
