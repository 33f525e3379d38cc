"""Choosing a model: candidates measured on a user's own data and machine."""
