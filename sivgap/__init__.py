"""sivgap: the laboratory for LLM self-improvement. See README.md; the main job is `sivgap.train`."""
