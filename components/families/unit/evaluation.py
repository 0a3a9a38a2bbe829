"""Evaluate a served UNIT by the translators' judges, and compare the latents of both domains."""

from components.translation.evaluation import evaluate
from components.translation.judges import Settings

__all__ = ["Settings", "evaluate"]
