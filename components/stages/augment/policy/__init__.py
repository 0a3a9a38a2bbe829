"""Augmentation policies: settings of a view (``policies``), their ``transforms``, and their ``validation``."""
