"""Predict pictures with a registered version or a local export. Read ``model`` and ``classify`` first.

``pictures`` finds the files, ``decoding`` turns them into batches, ``tables`` and ``sheet`` write the results; ``translate``
and ``sample`` are for the families that make pictures.
"""
