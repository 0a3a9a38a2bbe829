"""Evaluate a served StarGAN by the translators' judges, between the domains of the main view."""

from components.translation.evaluation import evaluate
from components.translation.judges import Settings

__all__ = ["Settings", "evaluate"]
