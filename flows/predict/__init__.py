"""Predict and search pictures from the command line. Read ``reading`` first, then ``classifying``."""
