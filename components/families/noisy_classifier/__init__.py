"""Noise-aware classifiers, whose gradients guide diffusion: read ``networks/unet/classifier``, ``recipe``, ``evaluation``."""
