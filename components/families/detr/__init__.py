"""DETR: detection as set prediction (Carion et al. 2020), with Conditional DETR's and DN-DETR's queries by setting.

Read ``network/detr.py`` (backbone, encoder, decoder, heads), ``matching.py`` and ``losses.py`` (the set loss),
``denoising.py``, ``recipe.py``, ``evaluation.py``. ``exported.py`` is the graph with its post-processing; ``served.py`` runs
it.
"""
