"""Stage 2, augment: prepare a dataset for training as a view."""
