"""Evaluate a served ACVAE-VC: by the judges of translators, and by mel-cepstral distortion."""

from components.translation.voice_evaluation import Settings, evaluate

__all__ = ["Settings", "evaluate"]
