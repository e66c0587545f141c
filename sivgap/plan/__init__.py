"""What a run will cost, before it: tokens, FLOPs, memory a GPU and hours (``python -m sivgap.train ... plan=true``)."""
