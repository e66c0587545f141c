"""Okabe and Ito's colours, told apart by colour-blind readers."""

SOLVER, VERIFIER, GAP, NEUTRAL = "#0072B2", "#D55E00", "#009E73", "#666666"
