"""Watches a champion at work: new images are scored once, and their scores compared with those of the validation images."""
