"""Checks of model files before anything in them runs."""
