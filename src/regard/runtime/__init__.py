"""Inference as fast as the machine allows: what `optimize` puts in the place of plain products."""
