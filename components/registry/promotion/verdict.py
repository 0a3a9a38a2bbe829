"""The gates of a promotion: compare scores with the settings. Pure functions of their arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.registry.promotion.classes import added, class_list, shared_rows
from components.registry.promotion.gates import ROUNDING, GateResult, Gates
from components.registry.promotion.intervals import paired_interval
from components.registry.promotion.scores import VersionScores

LATENCY = "latency_p50_ms"


@dataclass(frozen=True)
class Verdict:
    """The results of all gates, and the figures that they compared."""

    lines: tuple[GateResult, ...]
    figures: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(line.passed for line in self.lines)

    @property
    def reason(self) -> str:
        """The failed gates, in one line."""
        return "; ".join(f"{line.gate}: {line.words}" for line in self.lines if not line.passed)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the results as JSON values."""
        return [asdict(line) | {"figures": finite(line.figures)} for line in self.lines]


def judge(gates: Gates, key: str, candidate: VersionScores, champion: VersionScores | None) -> Verdict:
    """Apply the gates of the block ``key``; without a champion only floor and latency.

    Raise SettingsError if the block needs what the report does not contain.
    """
    metric = gates.must_decide(key)
    _check(gates, key, metric, candidate)
    lines = [*_floor(gates, metric, candidate)]
    figures = {metric: candidate.metrics[metric]}
    if champion is not None:
        figures |= {f"champion {metric}": value for name, value in champion.metrics.items() if name == metric}
        lines += [*class_list(gates, metric, _sign(candidate, metric), candidate, champion)]
        lines += [*_gain(gates, metric, candidate, champion), *_margin(gates, metric, candidate, champion)]
        lines += [*_spread(gates, metric, candidate, champion), *_classes(gates, metric, candidate, champion)]
    return Verdict((*lines, *_latency(gates, candidate)), figures | candidate.latency)


def finite(figures: dict[str, float]) -> dict[str, float | None]:
    """Replace NaN and infinity, which JSON does not have, by None."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def unfit(gate: str, words: str) -> Verdict:
    """Return the verdict on a version that could not be scored."""
    return Verdict((GateResult(gate, False, words, {}),), {})


def _check(gates: Gates, key: str, metric: str, scores: VersionScores) -> None:
    if metric not in scores.metrics:
        raise SettingsError(f"{key}.metric: the report has no {metric!r}; it has {', '.join(sorted(scores.metrics))}")
    if gates.better not in (None, scores.better[metric]):
        raise SettingsError(f"{key}.better: {gates.better!r} is not allowed: of {metric} the {scores.better[metric]} is better")
    for name in ("margin", "max_class_fall"):
        if getattr(gates, name) is not None and metric not in scores.items:
            having = ", ".join(sorted(scores.items)) or "none"
            hint = f"metrics that have: {having}; or use a floor or a gain"
            raise SettingsError(f"{key}.{name}: {metric!r} has no value an image to compare by; {hint}")
    if gates.seed_spread is not None and f"seeds.{metric}.std" not in scores.metrics:
        run = key.split(".")[1]
        raise SettingsError(f"{key}.seed_spread: the report has one seed; `python -m flows seeds` repeats {run} with others")
    if gates.max_class_fall is not None and scores.groups is None:
        raise SettingsError(f"{key}.max_class_fall: the report of this recipe knows no classes")


def _sign(scores: VersionScores, metric: str) -> float:
    """Return the factor that turns a difference into an improvement."""
    return 1.0 if scores.better[metric] == "max" else -1.0


def _floor(gates: Gates, metric: str, candidate: VersionScores) -> Iterator[GateResult]:
    if gates.floor is None:
        return
    value, bound = candidate.metrics[metric], "at least" if candidate.better[metric] == "max" else "at most"
    passed = _sign(candidate, metric) * (value - gates.floor) >= -ROUNDING
    words = f"{metric} {value:.4f}, {bound} {gates.floor:g} is required"
    yield GateResult("floor", passed, words, {"value": value, "floor": gates.floor})


def _gain(gates: Gates, metric: str, candidate: VersionScores, champion: VersionScores) -> Iterator[GateResult]:
    if gates.gain is None:
        return
    if metric not in champion.metrics:
        yield GateResult("gain", False, f"the champion's report has no {metric}", {})
        return
    new, old = candidate.metrics[metric], champion.metrics[metric]
    if added(candidate, champion):
        try:
            new, old = (_sign(candidate, metric) * float(values.mean()) for values in _pair(metric, candidate, champion))
        except ValueError as error:
            yield GateResult("gain", False, f"{metric} cannot be compared: {error}", {})
            return
    gain = _sign(candidate, metric) * (new - old)
    words = f"{metric} {new:.4f}, champion {old:.4f}: "
    words += f"better by {gain:+.4f}, at least {gates.gain:+g} is required"
    yield GateResult("gain", gain >= gates.gain - ROUNDING, words, {"gain": gain, "asked": gates.gain})


def _spread(gates: Gates, metric: str, candidate: VersionScores, champion: VersionScores) -> Iterator[GateResult]:
    """Compare the gain with the spread of the candidate's seeds: what another seed alone would change."""
    if gates.seed_spread is None:
        return
    if metric not in champion.metrics:
        yield GateResult("seed_spread", False, f"the champion's report has no {metric}", {})
        return
    if added(candidate, champion):
        yield GateResult("seed_spread", False, "the other seeds cannot be compared: their means are of the new classes too", {})
        return
    gain = _sign(candidate, metric) * (candidate.metrics[f"seeds.{metric}.mean"] - champion.metrics[metric])
    std = candidate.metrics[f"seeds.{metric}.std"]
    words = (
        f"mean {metric} of the seeds {candidate.metrics[f'seeds.{metric}.mean']:.4f}, champion {champion.metrics[metric]:.4f}: "
    )
    words += f"better by {gain:+.4f}, at least {gates.seed_spread:g} x {std:.4f} is required"
    yield GateResult("seed_spread", gain >= gates.seed_spread * std - ROUNDING, words, {"gain": gain, "std": std})


def _margin(gates: Gates, metric: str, candidate: VersionScores, champion: VersionScores) -> Iterator[GateResult]:
    if gates.margin is None:
        return
    try:
        new, old = _pair(metric, candidate, champion)
        low, high = paired_interval(new, old, gates.confidence)
    except ValueError as error:
        yield GateResult("margin", False, f"{metric} cannot be compared: {error}", {})
        return
    difference = float(new.mean() - old.mean())
    words = f"{metric} {difference:+.4f} against the champion on {len(new)} images, {gates.confidence:.0%} interval "
    words += f"[{low:+.4f}, {high:+.4f}], above {-gates.margin:+g} is required"
    figures = {"difference": difference, "low": low, "high": high, "margin": gates.margin, "images": float(len(new))}
    yield GateResult("margin", low >= -gates.margin - ROUNDING, words, figures)


def _classes(gates: Gates, metric: str, candidate: VersionScores, champion: VersionScores) -> Iterator[GateResult]:
    if gates.max_class_fall is None or candidate.groups is None:
        return
    try:
        new, old = _pair(metric, candidate, champion)
        groups = candidate.groups[shared_rows(candidate, champion)]
        if len(groups) != len(new):
            raise ValueError(f"{len(groups)} classes of {len(new)} images")
    except ValueError as error:
        yield GateResult("max_class_fall", False, f"{metric} cannot be compared: {error}", {})
        return
    falls = {int(group): float((old - new)[groups == group].mean()) for group in np.unique(groups)}
    worst = max(falls, key=lambda group: falls[group])
    fall, number = falls[worst], int((groups == worst).sum())
    name = candidate.group_names[worst] if worst < len(candidate.group_names) else str(worst)
    words = f"class {name[:40]!r} changes most for the worse: {-fall:+.4f} on {number} images, "
    words += f"no class may lose more than {gates.max_class_fall:g}"
    passed = bool(fall <= gates.max_class_fall + ROUNDING)
    yield GateResult("max_class_fall", passed, words, {"fall": fall, "images": float(number), "allowed": gates.max_class_fall})


def _pair(metric: str, candidate: VersionScores, champion: VersionScores) -> tuple[np.ndarray, np.ndarray]:
    """Return both models' values [N] on the images whose class both know, signed so that larger is better."""
    for who, scores in (("candidate", candidate), ("champion", champion)):
        if metric not in scores.items:
            raise ValueError(f"the {who}'s report has no {metric} of each image")
    new, old = (_sign(candidate, metric) * scores.items[metric].astype(np.float64) for scores in (candidate, champion))
    if new.shape != old.shape:
        raise ValueError(f"{len(new)} images of the candidate, {len(old)} of the champion")
    rows = shared_rows(candidate, champion)
    new, old = new[rows], old[rows]
    if not (np.isfinite(new).all() and np.isfinite(old).all()):
        raise ValueError("some images have no finite value")
    return new, old


def _latency(gates: Gates, candidate: VersionScores) -> Iterator[GateResult]:
    if gates.latency_ms is None:
        return
    value = candidate.latency[LATENCY]
    words = f"{value:.2f} ms for one input (median, on this machine), at most {gates.latency_ms:g} is required"
    yield GateResult("latency_ms", value <= gates.latency_ms, words, {"value": value, "ceiling": gates.latency_ms})
