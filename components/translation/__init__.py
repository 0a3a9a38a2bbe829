"""Evaluation that the families of translators share."""
