"""Tracking services: views of a run, never its truth."""
