"""The solver-verifier dynamics: what the coupled equations say, and what a logged trajectory says of them. No torch."""
