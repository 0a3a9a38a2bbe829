"""The gates of a promotion: the run's ``promote`` block, and the arithmetic behind each gate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.strict import Strict


class Gates(Strict):
    """The ``promote`` block. Without a ``metric`` the run is not promoted.

    The first model of a run meets the floor and the latency alone; a later one also what compares it with the champion.
    """

    metric: str | None = Field(default=None, min_length=1, description="of metrics.json, the figure that decides")
    better: Literal["max", "min"] | None = Field(default=None, description="the metric's direction; must be the report's")
    floor: float | None = Field(default=None, description="the metric must be at least this (at most, where smaller is better)")
    gain: float | None = Field(default=None, description="least improvement over the champion, in the metric's units")
    margin: float | None = Field(
        default=None, ge=0, description="non-inferiority: the confidence interval of the paired difference lies above -margin"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of the two-sided interval")
    max_class_fall: float | None = Field(default=None, ge=0, le=1, description="no class may lose more of the metric than this")
    latency_ms: float | None = Field(
        default=None, gt=0, description="ceiling of the median latency of one input, measured here"
    )
    approval: bool = Field(default=False, description="a person decides after the gates")
    approval_hours: float = Field(default=168.0, gt=0, description="until a request for approval expires")
