"""Engines: faster ways to compute a model's predictions, and the proof that they give the same ones."""
