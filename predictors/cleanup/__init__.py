"""The clean-up of the model cache: `python -m predictors.cleanup` removes entries that no pod uses any more."""
