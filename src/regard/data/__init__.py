"""Data on its way to a model; knows nothing of models."""
