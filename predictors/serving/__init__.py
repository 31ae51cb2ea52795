"""The server process from its start to its end."""
