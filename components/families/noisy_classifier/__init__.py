"""Classifiers of noisy images, which guide diffusion."""
