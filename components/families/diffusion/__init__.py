"""Diffusion models, with classifier and classifier-free guidance, super-resolution and cascades.

Read ``networks/unet`` and ``components/diffusion`` (the mathematics), then ``recipe``, then ``evaluation``. Around them stand
``settings`` (the ``train`` block), ``export``, and the parts of the evaluation, ``samples`` and ``scores``.
"""
