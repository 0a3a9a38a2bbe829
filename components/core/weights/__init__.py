"""Weights from files: which format (``formats``), what a refused pickle holds (``pickles``), and clean names (``reading``).

The content of a file decides, never its suffix. Nothing is unpickled but by torch's reader of plain tensors.
"""
