"""Formulas: numbers in, numbers out. Written once, for floats and NumPy arrays alike; no I/O, no hidden inputs."""
