"""Metrics: arrays in, floats out. ``features`` checks what the distances of two sets take; ``sheets`` draws images."""
