"""Tasks: problems with ground truth, generated, read from files, or from the hub."""
