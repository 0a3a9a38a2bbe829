"""Stage 3, train: one loop for every recipe."""
