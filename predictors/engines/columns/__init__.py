"""Engines for columns of several types: scikit-learn's preprocessing without DataFrames, then a model of numbers."""
