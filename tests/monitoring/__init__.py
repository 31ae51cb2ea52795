"""Monitoring: the catalogue, what is made of it, and a real Prometheus that reads it."""
