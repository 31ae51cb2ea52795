"""The model's signature, and the plans compiled from it that turn requests into model input."""
