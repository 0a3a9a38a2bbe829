"""Evaluate a served MUNIT by the translators' judges, and test the paper's assumptions on its content and style codes."""

from components.translation.evaluation import evaluate
from components.translation.judges import Settings

__all__ = ["Settings", "evaluate"]
