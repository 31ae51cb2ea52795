"""Features that a model looks up in Feast for the entities that a request names."""

from predictors.features.declaration import declare

__all__ = ["declare"]
