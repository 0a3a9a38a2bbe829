"""The U-Net of DDPM and ADM, and the encoder half of it as a classifier of noisy images.

Read ``unet.py`` first (the denoiser), then ``stages.py`` (how levels are put together) and ``blocks.py`` (residual and
attention blocks); ``classifier.py`` reuses the way down. Parameter names are guided-diffusion's.
"""
