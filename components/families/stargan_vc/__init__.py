"""StarGAN-VC (Kameoka et al. 2018): voices, as pictures of sound, into other voices."""
