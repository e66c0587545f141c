"""Updates: fine-tuning on what was chosen."""
