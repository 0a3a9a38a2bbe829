"""Boxes found in pictures: ``boxes`` matches them with the true ones, ``average_precision`` is COCO's; ``box_errors``."""
