"""Grading by ground truth: finding the answer in a response, and comparing it. Never seen by the model."""
