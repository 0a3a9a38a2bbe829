"""ADA (Karras et al. 2020): read ``pipeline`` (geometry, colours, probability), ``resampling``, ``corruption``."""
