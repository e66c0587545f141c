"""Models: the embedded one, local folders, and the hub."""
