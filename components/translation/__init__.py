"""What the translators MUNIT, UNIT, StarGAN and StarGAN v2 have in common.

For training read ``interface`` (what they require of a view, and the signature of what they serve) and, for MUNIT and UNIT,
``pairs``. For evaluation read ``evaluation`` (the report and its pictures), then ``judges`` (the settings, the real images and
the classifiers that judge translations) and ``figures`` (the figures per pair of domains). No recipe imports these three.
"""
