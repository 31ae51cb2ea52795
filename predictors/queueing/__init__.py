"""Admission, batches and threads: how requests wait for their turn."""
