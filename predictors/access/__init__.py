"""Access control: tokens, JWTs, TLS and rate limits; it knows nothing of HTTP servers and models."""
