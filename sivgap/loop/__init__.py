"""The training loop: what Algorithm 1 works with, and the state it moves."""
