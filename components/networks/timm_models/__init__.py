"""timm's classifiers as networks of this room: ``catalogue`` (names, building), ``files`` (names in files), ``network``."""
