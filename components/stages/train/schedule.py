"""Learning-rate scale as a pure function of the step."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate_scale(step: int, *, steps: int, warmup: int, schedule: Schedule) -> float:
    """Factor in (0, 1] for update ``step`` of 0..steps-1: linear warm-up over ``warmup`` updates, then the schedule down to 0.

    Cosine: 0.5 (1 + cos(pi t)), t in [0, 1) the share of updates done after warm-up (Loshchilov & Hutter 2017, eq. 5).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    scales = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
    return scales[schedule]
