"""Where serves run."""
