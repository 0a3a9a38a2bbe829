"""Out-of-distribution score of an image and text model from the names of the classes; higher is more in-distribution."""

from __future__ import annotations

import numpy as np


def maximum_concept_matching(cosines: np.ndarray, temperature: float) -> np.ndarray:
    """Compute max_k softmax(cosines / temperature)_k of [N, K] cosines of images and class names, float64 [N].

    Ming et al. 2022 (arXiv 2211.13445), eq. 1 and 2; their temperature is 1.
    """
    scaled = cosines.astype(np.float64) / temperature
    return 1 / np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)
