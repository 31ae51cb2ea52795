"""The clean-up of the model cache: `python -m predictors.cleanup` removes what no pod uses any more."""
