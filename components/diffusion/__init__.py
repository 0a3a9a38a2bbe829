"""The mathematics of diffusion: schedules, targets, losses and bound, samplers, guidance; torch alone, relative imports alone.

To train, read ``schedules`` (alpha_t, sigma_t), ``parametrisation`` (x0, eps, v), ``objective`` (loss and bound) and ``model``;
to sample, ``times``, ``samplers``, ``guidance`` and ``sampling``, which puts them together. ``likelihood`` evaluates the bound.

Notation: x_t = alpha_t x_0 + sigma_t eps with alpha_t^2 + sigma_t^2 = 1; time t runs from 0 (data) to 1 (noise); a schedule is
given by log SNR(t) = log(alpha_t^2 / sigma_t^2), which is -gamma(t) in VDM.
"""
