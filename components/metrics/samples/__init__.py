"""Figures of generated images beside real ones: start with ``generated``."""
