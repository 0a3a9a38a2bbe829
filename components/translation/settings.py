"""The settings that the translating recipes have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.core.strict import Strict


class NoSettings(Strict):
    """Nothing to say."""


class EvaluateSettings(Strict):
    """``split``: whose images are translated, into every other domain, and compared with those of that domain.

    Links give the judges: ``domains`` and ``content`` classifier runs, ``modes`` for the inception scores, ``alexnet`` and
    ``lpips`` published weights.
    """

    split: Literal["train", "validation", "test"] = "test"
    seed: int = Field(default=0, ge=0, lt=2**31, description="of styles and references")
    images: int = Field(default=256, ge=6, description="at most, of each domain, for each domain that they go to")
    styles: int = Field(default=8, ge=2, le=1000, description="of one input, for diversity and the inception scores")
    inputs: int = Field(default=32, ge=1, description="that are translated in so many styles, of each pair of domains")
    told_apart: float = Field(default=0.9, ge=0, le=1, description="least accuracy of the judge on a pair that counts")
    dimensions: int | None = Field(default=None, ge=1, description="of the features, reduced to them by PCA if they are more")
    rows: int = Field(default=8, ge=1, le=64, description="of the sheets")
