"""Likelihoods as they are compared: arrays in, floats out."""

from __future__ import annotations

import math

import numpy as np


def bits_per_dimension(nats: np.ndarray, dimensions: int) -> np.ndarray:
    """Negative log-likelihoods of images, nats [N], of ``dimensions`` = C H W values each -> bits a value [N]."""
    return nats / (dimensions * math.log(2))
