"""Verifiers: how a model is asked to judge its own responses."""
