"""Rules that a spec has to keep, beyond what its types say."""
