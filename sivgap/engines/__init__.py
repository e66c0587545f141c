"""Engines: what samples responses and answers follow-up questions."""
