"""ACVAE-VC (Kameoka et al. 2018): voices into other voices by a conditional VAE with a classifier of voices."""
