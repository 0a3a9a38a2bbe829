"""CLIP's towers, also as image classifiers: ``clip_vit``, ``modified_resnet``, ``text_transformer``."""
