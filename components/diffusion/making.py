"""A schedule by its name."""

from __future__ import annotations

from typing import Literal, get_args

from .schedules import ContinuousCosine, ContinuousLinear, Discrete, Line, cosine_betas, linear_betas

ScheduleName = Literal["linear", "cosine", "vdm_fixed", "vdm_learned"]
NAMES: tuple[ScheduleName, ...] = get_args(ScheduleName)
Made = ContinuousCosine | ContinuousLinear | Discrete | Line


def make_schedule(name: str, num_steps: int | None) -> Made:
    """A schedule, each an ``nn.Module``; ``num_steps``: T, None for continuous time. ValueError names what is allowed."""
    if num_steps is not None and num_steps < 1:
        raise ValueError(f"num_steps: {num_steps} is not allowed: at least 1, or none for continuous time")
    if name == "linear":
        return ContinuousLinear() if num_steps is None else Discrete(linear_betas(num_steps))
    if name == "cosine":
        return ContinuousCosine() if num_steps is None else Discrete(cosine_betas(num_steps))
    if name in ("vdm_fixed", "vdm_learned"):
        return Line(num_steps, learned=name == "vdm_learned")
    raise ValueError(f"schedule: {name!r} is not allowed: {', '.join(NAMES)}")
