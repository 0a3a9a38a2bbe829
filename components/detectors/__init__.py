"""Post-hoc out-of-distribution scores. ``DETECTORS`` is the seam: name -> "module:Class"."""

DETECTORS: dict[str, str] = {}
