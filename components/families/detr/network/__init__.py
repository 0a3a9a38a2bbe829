"""The detector's network: ``detr.py`` joins backbone, encoder and decoder; tensors in, tensors out."""
