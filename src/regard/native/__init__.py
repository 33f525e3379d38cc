"""Kernels in C for processors, compiled when the wheel is built (hatch_build.py)."""
