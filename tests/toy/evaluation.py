"""How well the toy codes."""

import numpy as np

from components.core.batch import pixels_of
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report


class Settings(Strict):
    """None."""


def evaluate(served, splits, settings, links):
    errors = []
    for batch in splits["main"]:
        pixels = pixels_of(batch)
        errors.append(np.mean((served.predict({"image": pixels})["coded"].astype(float) - pixels) ** 2, axis=(1, 2, 3)))
    return Report({"squared_error": Metric(float(np.concatenate(errors).mean()), "min")})
