"""Diffusion's mathematics: schedules, targets, losses and bound, samplers, guidance. No network, no file, no setting.

The folder needs torch alone and imports its own files relatively, so it works as ``components.diffusion`` and as a copy under
any name beside the code that serves a model.

Notation everywhere: x_t = alpha_t x_0 + sigma_t eps with alpha_t^2 + sigma_t^2 = 1; time t runs from 0 (data) to 1 (noise);
a schedule tells log SNR(t) = log(alpha_t^2 / sigma_t^2), VDM's -gamma(t). ``gamma`` in our own code is the guidance scale only.
"""
