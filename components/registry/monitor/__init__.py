"""Drift monitor: score new images once with the champion, and compare with its scores of the validation images.

Read ``__main__`` first, then ``scan`` and ``drift``.
"""
