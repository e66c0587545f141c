"""One run on several processes, the ranks: all take the same decisions, each does its share of the work."""
