"""Serve an exported CLIP: pictures and texts to vectors of one space; pictures and class names to probabilities."""

from ...serving.pictures_and_texts import Served

__all__ = ["Served"]
