"""Writes the model's inputs and outputs in the background, for drift analysis, audits and training."""
