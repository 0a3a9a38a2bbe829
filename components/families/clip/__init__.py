"""CLIP (Radford et al. 2021): pictures and captions in one space. Read networks, objective, recipe, evaluation."""
