"""The types of the field, and what engines, judges and verifiers promise. Nothing here imports torch."""
