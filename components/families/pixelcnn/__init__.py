"""PixelCNN and Gated PixelCNN: exact likelihoods, images drawn pixel by pixel.

Read ``pixelcnn.py`` and ``gated_pixelcnn.py`` (networks), then ``recipe.py``, then ``evaluation.py``. ``sampling.py`` draws
images; ``cache.py`` makes that fast, with the same result.
"""
