"""Run directories: identity, checkpoints, trajectory, samples."""
