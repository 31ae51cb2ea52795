"""Changes of what is wanted: each is one transaction."""
