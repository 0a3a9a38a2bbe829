"""Stage 2, augment: a dataset becomes a view."""
