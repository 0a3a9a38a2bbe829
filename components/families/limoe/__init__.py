"""LIMoE (Mustafa et al. 2022): one sparse tower for pictures and captions. Read networks, routing, recipe, evaluation."""
