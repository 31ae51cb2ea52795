"""Who may come in, and how often: tokens, JWTs and rate limits; nothing here knows of HTTP servers or models."""
