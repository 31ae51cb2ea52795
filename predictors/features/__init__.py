"""Features from Feast: the server looks them up for the entities in a request."""

from predictors.features.declaration import declare

__all__ = ["declare"]
