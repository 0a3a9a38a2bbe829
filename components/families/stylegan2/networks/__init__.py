"""StyleGAN2: ``generator`` and ``discriminator``, of the layers in ``blocks``; ``stylegan2`` has both, and reads files."""
