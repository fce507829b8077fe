"""Measured runs against predictions: read them, match their names, predict them, score the difference."""
