#!/usr/bin/env bash
# SV Table 1 on SLURM: 12 tasks of an array, at most 4 at once, one GPU each. Type it on a login node (in tmux), and
# again whenever it was interrupted: what is done is kept, what was preempted goes on.
#
#   launchers/slurm.sh model=llama32_3b dataset=math cross.source=api cross.api.model=... hydra.launcher.partition=gpu
set -euo pipefail

exec python -m sivgap.train -m experiment=table1 hydra/launcher=submitit_slurm \
  hydra.launcher.timeout_min=1440 \
  hydra.launcher.gpus_per_node=1 \
  hydra.launcher.cpus_per_task=8 \
  hydra.launcher.mem_gb=64 \
  hydra.launcher.array_parallelism=4 \
  hydra.launcher.signal_delay_s=300 \
  hydra.launcher.max_num_timeout=20 \
  "$@"
