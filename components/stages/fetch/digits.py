"""Digits: 1,797 scans of handwritten digits, 8 x 8 pixels, 17 grey levels, included in scikit-learn (no download).

The test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.core.config.params import DatasetSettings
from components.stages.fetch.dataset_files import write_arrays, write_index

LEVELS = 16  # the brightest value in scikit-learn's arrays


class Digits:
    """Digits: grey [1797, 8, 8], ink bright on 0; label 0..9; one split, "all"."""

    class Settings(DatasetSettings):
        pass

    @staticmethod
    def fetch(settings: Digits.Settings, out: Path, seed: int, workspace: Path) -> None:
        from sklearn.datasets import load_digits

        scans = load_digits()
        image = np.rint(scans.images * (255 / LEVELS)).astype(np.uint8)
        split = write_arrays(out, "all", {"image": image, "label": scans.target.astype(np.int64)})
        write_index(out, "arrays", {"all": split}, {"label": [str(digit) for digit in range(10)]})
