"""Pictures, tables and summaries of runs. No torch."""
