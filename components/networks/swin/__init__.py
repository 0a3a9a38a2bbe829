"""Swin Transformer, versions 1 and 2.

Read ``swin`` first (the networks), then ``blocks``, ``attention`` and ``windows``; ``sizes``: published and free ones;
``files``: published layouts.
"""
