"""The gates that a candidate must pass to become the champion: settings of the ``promote`` block, and the result of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from components.core.config.strict import SettingsError, Strict

EXAMPLE = "promote: {metric: accuracy, floor: 0.9, margin: 0.02}"
ROUNDING = 1e-9  # a mean of 24 values and a limit written in decimal are the same number only up to this
DURATION = re.compile(r"(\d+(?:\.\d+)?)([mhd])")
HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}


class Approval(Strict):
    """``approval: {by: other}``: who decides after the gates."""

    by: Literal["anyone", "other"] = Field(
        default="anyone", description="other: neither who trained the version nor who asked for its promotion"
    )


class Gates(Strict):
    """The ``promote`` block. Without a ``metric`` the run is not promoted.

    The first model of a run is checked for floor and latency only, later ones also against the champion.
    """

    metric: str | None = Field(default=None, min_length=1, description="metric of metrics.json that decides")
    better: Literal["max", "min"] | None = Field(default=None, description="check that the report has this direction")
    floor: float | None = Field(default=None, description="the metric must be at least this (at most, if smaller is better)")
    gain: float | None = Field(default=None, description="least improvement over the champion, in the metric's units")
    margin: float | None = Field(
        default=None, ge=0, description="non-inferiority: the confidence interval of the paired difference lies above -margin"
    )
    seed_spread: float | None = Field(
        default=None, ge=0, description="least improvement over the champion, in standard deviations over the run's seeds"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of the two-sided interval")
    max_class_fall: float | None = Field(default=None, ge=0, description="no class may lose more of the metric than this")
    new_class_floor: float | None = Field(
        default=None, description="what the metric must reach on each class that the champion does not know (default: floor)"
    )
    latency_ms: float | None = Field(
        default=None, gt=0, description="ceiling of the median latency of one input, measured here"
    )
    approval: bool | Approval = Field(
        default=False, description="a person decides after the gates; {by: other}: a second person"
    )
    approval_hours: float = Field(default=168.0, gt=0, description="until a request for approval expires")
    watch: str | None = Field(
        default=None, description="as long a new champion is compared with the old one in service, and returned: 90m, 24h or 7d"
    )
    watch_alarm: float = Field(default=0.001, gt=0, lt=0.5, description="probability that one watch returns a good champion")

    @field_validator("watch")
    @classmethod
    def _duration(cls, text: str | None) -> str | None:
        match = DURATION.fullmatch(text) if text is not None else None
        if text is not None and (match is None or not float(match[1])):
            raise ValueError("a time as in 90m, 24h or 7d is expected")
        return text

    @property
    def watch_hours(self) -> float:
        """Hours for which a new champion is watched; 0: it is not."""
        match = DURATION.fullmatch(self.watch or "")
        return float(match[1]) * HOURS[match[2]] if match else 0.0

    @property
    def second_person(self) -> bool:
        """Whether someone else than who trained or promoted must approve."""
        return isinstance(self.approval, Approval) and self.approval.by == "other"

    @model_validator(mode="after")
    def _can_refuse(self) -> Gates:
        rules = (self.floor, self.gain, self.margin, self.seed_spread)
        others = sorted(self.model_fields_set - {"metric"})
        if self.metric is None and others:
            raise ValueError(f"{', '.join(others)} without a metric: which figure decides?")
        if self.metric is not None and all(rule is None for rule in rules):
            raise ValueError("a metric alone refuses nothing: add a floor, a gain, a margin or a seed_spread")
        return self

    def must_decide(self, key: str) -> str:
        """Return the metric; SettingsError if the block names none. ``key``: place of the block, for the message."""
        if self.metric is None:
            raise SettingsError(f"{key}: nothing says what a candidate must reach; add for example\n  {EXAMPLE}")
        return self.metric


@dataclass(frozen=True)
class GateResult:
    """The result of one gate: figures, and ``words`` for a reader."""

    gate: str
    passed: bool
    words: str
    figures: dict[str, float]

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.gate:<15} {self.words}"
