"""Augmentation policies: settings of a view (``policies``), their transforms, and what is checked of them."""
