"""PixelCNN and Gated PixelCNN (van den Oord et al. 2016)."""
