"""Writes charts/serve, whose templates are derived from what the generator renders."""
