"""StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), with ADA (arXiv 2006.06676) and DiffAugment (arXiv 2006.10738).

Read ``networks/generator`` and ``networks/discriminator``, then ``recipe``, then ``evaluation``. ``augment`` and ``adaptive``:
what the discriminator sees of little data; ``vision``: heads on frozen networks beside it (arXiv 2112.09130).
"""
