"""Features that a model looks up in Feast for the entities that a request names."""
