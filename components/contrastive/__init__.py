"""What families of pictures and captions have in common: CLIP with its two towers, LIMoE with one.

For training read ``objective`` (the equations), ``pairs`` (them on the batch of all processes) and ``settings``; for the export
``export``; for the evaluation ``evaluation``, then ``retrieval``, ``zero_shot`` and ``probe``. What is served stands in
``components/serving/pictures_and_texts.py``.
"""
