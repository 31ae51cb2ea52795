"""Metrics, logs, request ids and traces."""
