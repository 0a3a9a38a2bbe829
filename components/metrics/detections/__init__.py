"""Boxes found in pictures beside the true ones: ``boxes`` matches them, ``average_precision`` is COCO's, ``box_errors`` tells kinds."""
