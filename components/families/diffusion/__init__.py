"""Diffusion models with classifier and classifier-free guidance."""
