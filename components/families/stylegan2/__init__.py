"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), with ADA (arXiv 2006.06676) and DiffAugment (arXiv 2006.10738).

Read ``generator`` and ``discriminator``, then ``recipe``, then ``evaluation``. ``blocks``: equalised layers,
modulation, filters; ``augment`` and ``adaptive``: what the discriminator sees of little data; ``networks``: both
networks, and published files.
"""
