"""Cross-improvement: external responses for some of the prompts (SV Sec. 5)."""
