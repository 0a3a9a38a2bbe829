"""Draw scenes of a few characters with captions and boxes: read ``source``, then ``scene``, ``captions``, ``painting``."""
