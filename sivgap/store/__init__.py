"""Responses and verdicts that were paid for once, kept in Parquet, keyed by what produced them."""
