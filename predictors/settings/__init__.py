"""Settings: flags, environment variables and their types."""

from predictors.settings.predictor import Settings as Settings

__all__ = ["Settings"]
