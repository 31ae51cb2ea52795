"""Signatures: the plan that turns requests into model input."""
