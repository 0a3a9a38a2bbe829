"""Evaluate a served translator of voices: the figures of all translators, and mel-cepstral distortions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from components.core.batch import Split
from components.core.recipe import Metric, Report
from components.sound.distances import mel_cepstral_distortion
from components.sound.mel import MelScale, decibels_of
from components.translation import evaluation, judges
from components.translation.judges import RealImages, translate

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.core.settings import RunSettings

SOUND = "sound"  # fact of an export: the scale of its pictures
QUIET = 40.0  # dB below a picture's loudest pixel, under which a frame is left out


class Settings(judges.Settings):
    """The ``evaluate`` block of a voice translator."""

    distortions: int = Field(
        default=16, ge=0, description="pictures per pair of voices whose mel-cepstral distortion is measured; 0: of none"
    )


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """All figures of ``translation.evaluation`` and, of pictures of sound whose words are known, the table ``distortions``."""
    split = splits["main"]
    kept = Split(split.facts, list(split))  # read twice
    report = evaluation.evaluate(served, {**splits, "main": kept}, settings, links)
    scale, block = served.facts.get(SOUND), settings.evaluate
    real = RealImages.of(Split(kept.facts, kept.batches), block, served.facts)
    if scale is None or real.label is None or not block.distortions:
        return report
    rows = [row for pair in real.pairs() if (row := distortion_row(served, real, pair, MelScale.parse(scale), block))]
    if rows:
        report.tables["distortions"] = rows
        for name in [name for name in rows[0] if name.startswith("mel_cepstral")]:
            report.metrics[name] = Metric(float(np.mean([row[name] for row in rows])), "min")
    return report


def distortion_row(
    served: Any, real: RealImages, pair: tuple[int, int], scale: MelScale, settings: Settings
) -> dict[str, Any] | None:
    """Mean distortions in dB of a pair of voices, against the target's own recordings of the same words; None without any.

    ``mel_cepstral_distortion``: of translations; ``..._identity``: of the untouched inputs: an upper bound for a useful one;
    ``..._real``: of another recording of the word by the target: a lower bound (left out if there is none).
    """
    assert real.label is not None
    source, target = (real.selected[domain] for domain in pair)
    by_word: dict[int, list[int]] = {}
    for index in target.tolist():
        by_word.setdefault(int(real.label[index]), []).append(index)
    inputs = [index for index in source.tolist() if int(real.label[index]) in by_word][: settings.distortions]
    if not inputs:
        return None
    made = translate(served, real.images[inputs], pair[1], seed=settings.seed)
    references = [by_word[int(real.label[index])] for index in inputs]
    figures = {
        "mel_cepstral_distortion": [
            between(image, real.images[own[0]], scale) for image, own in zip(made, references, strict=True)
        ],
        "mel_cepstral_distortion_identity": [
            between(real.images[index], real.images[own[0]], scale) for index, own in zip(inputs, references, strict=True)
        ],
    }
    others = [between(real.images[own[1]], real.images[own[0]], scale) for own in by_word.values() if len(own) > 1]
    figures |= {"mel_cepstral_distortion_real": others[: settings.distortions]} if others else {}
    names = {"source": real.domains[pair[0]], "target": real.domains[pair[1]], "images": len(inputs)}
    return names | {name: float(np.mean(values)) for name, values in figures.items()}


def between(one: np.ndarray, other: np.ndarray, scale: MelScale) -> float:
    """Mel-cepstral distortion of two pictures uint8 [bins, T, C], without their silence."""
    return mel_cepstral_distortion(*(voiced(decibels_of(picture.mean(axis=2), scale)) for picture in (one, other)))


def voiced(decibels: np.ndarray) -> np.ndarray:
    """The frames of [T, bins] that are not quiet: at least one."""
    loudest = decibels.max(axis=1)
    return decibels[loudest >= loudest.max() - QUIET]
