"""The loops that make the world as the store says."""
