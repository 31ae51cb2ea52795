"""Checks of model files, before any code in them runs."""
