"""Evaluate a served StarGAN v2 by the translators' judges, in random styles and in those of references."""

from components.translation.evaluation import evaluate
from components.translation.judges import Settings

__all__ = ["Settings", "evaluate"]
