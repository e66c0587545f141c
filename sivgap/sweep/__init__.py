"""Sweeps: many runs from one command, through any Hydra launcher, that survive what happens overnight."""
