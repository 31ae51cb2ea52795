"""Spec files: reading YAML with its positions, overlays, errors, and rewriting in place."""
