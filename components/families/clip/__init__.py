"""CLIP (Radford et al. 2021): pictures and their captions in one space. ``networks``, ``objective``, ``recipe``, ``evaluation``."""
