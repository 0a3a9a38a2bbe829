"""The samplers by name. Each is one pure function of (denoiser, x, schedule, times, generator)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .ancestral import ancestral
from .ddim import ddim
from .dpm_solver import dpm_solver_2m
from .heun import heun
from .times import Spacing

SAMPLERS: dict[str, Callable[..., Tensor]] = {
    "ancestral": ancestral,
    "ddim": ddim,
    "heun": heun,
    "dpm_solver_2m": dpm_solver_2m,
}
SPACING: dict[str, Spacing] = {"ancestral": "uniform", "ddim": "uniform", "heun": "karras", "dpm_solver_2m": "log_snr"}
EVALUATIONS = {"ancestral": 1, "ddim": 1, "heun": 2, "dpm_solver_2m": 1}  # of the denoiser a step; Heun's last to 0 takes 1
