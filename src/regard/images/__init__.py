"""Images on their way to a model; knows nothing of models."""
