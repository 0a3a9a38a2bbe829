"""Settings of a CLIP run's block ``train``."""

from __future__ import annotations

from pydantic import Field

from components.contrastive.settings import PairSettings


class TrainSettings(PairSettings):
    """The recipe's part of the ``train`` block."""

    patch_dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share of an image's patches left out in training (Li et al. 2023: 0.5 to 0.75)"
    )
    chunk: int | None = Field(
        default=None, ge=1, description="pairs of a process whose activations are held at a time; null: all. Changes no result"
    )
