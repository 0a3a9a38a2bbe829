"""Evaluate a served CLIP: retrieval both ways, zero-shot classification, linear probe, concept matching."""

from components.contrastive.evaluation import Settings, evaluate

__all__ = ["Settings", "evaluate"]
