"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math

from components.core.recipe import Schedule


def learning_rate_scale(
    step: int,
    *,
    steps: int,
    warmup: int,
    schedule: Schedule,
    schedule_steps: int | None = None,
    constant_fraction: float = 0.5,
) -> float:
    """Return the factor in (0, 1] for update ``step`` of 0..steps-1: linear warm-up over ``warmup`` updates, then the schedule.

    With t in [0, 1), the share of updates done after warm-up:
    cosine: 0.5 (1 + cos(pi t)) (Loshchilov & Hutter 2017, eq. 5); linear: 1 - t;
    constant_linear: 1 up to t = ``constant_fraction``, then linear to 0; step: halved every ``schedule_steps`` updates, counted
    from step 0.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - done
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case "constant_linear":
            return min(1.0, (1.0 - done) / (1.0 - constant_fraction))
        case "step":
            assert schedule_steps is not None
            return float(0.5 ** (step // schedule_steps))
