"""Recordings as log-mel pictures, cut in windows: speakers or species become domains, words become classes.

Nothing is learnt from the data: the range of a picture is a setting, so that any picture can be played (``components.sound``).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from components.sound.files import read_sound, resampled
from components.sound.mel import MelScale
from components.sound.playback import picture_of
from components.sound.windows import Silence, cut, trimmed
from components.stages.fetch.audio.recordings import Recording, Recordings, list_recordings
from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.pictures import OwnSettings
from components.stages.fetch.files.unchanged import pack_unchanged
from components.stages.fetch.files.walk import Walk

CLIPPED = 0.01  # share of pixels at the ceiling, above which the log warns

log = logging.getLogger(__name__)


class Audio:
    """Grey pictures [N, bins, frames], the highest frequency on top.

    Columns: "domain", the speaker (or "label", and then the word is "word"); "label", the word, if there are folders of words;
    "group", the recording, which no split divides; "sound", one class: the scale by which a picture is played.
    """

    class Settings(OwnSettings):
        column: Literal["domain", "label"] = Field(
            default="domain", description="meaning of the speakers' folders: domains to translate between, or classes"
        )
        sampling_rate: int = Field(default=16_000, ge=4_000, le=96_000, description="Hz, of the pictures")
        other_rates: Literal["resample", "error"] = Field(
            default="resample", description="recordings of another rate are resampled, which the log counts, or an error"
        )
        fft: int = Field(default=1024, ge=128, le=8192, description="samples of a Hann window")
        hop: int = Field(default=256, ge=32, le=4096, description="samples between two columns of a picture")
        bins: int = Field(default=64, ge=16, le=256, description="mel bins, the height of a picture; usual: 64 or 80")
        frames: int = Field(default=64, ge=8, le=1024, description="columns of a picture, its width")
        frames_hop: int | None = Field(
            default=None, ge=1, le=1024, description="columns between two pictures of a recording; null: `frames`, no overlap"
        )
        low: float = Field(default=80.0, ge=0, description="Hz of the lowest bin's lower edge")
        high: float = Field(default=7600.0, gt=0, description="Hz of the highest bin's upper edge")
        floor: float = Field(default=-80.0, description="dB of an amplitude that makes a pixel of 0")
        ceiling: float = Field(default=20.0, description="dB of an amplitude that makes a pixel of 255")
        level: float | None = Field(
            default=None,
            le=0,
            description="dB of full scale that each recording's effective amplitude gets; null: as it is",
        )
        trim: float | None = Field(
            default=30.0,
            gt=0,
            description="dB below the loudest frame at which beginning and end are cut off; null: nothing",
        )
        silent: Literal["error", "skip"] = Field(
            default="error", description="recordings of silence are an error, or left out and counted"
        )
        other_files: Literal["error", "skip"] = Field(
            default="error", description="files that are no sound are an error, or skipped and counted"
        )

        @property
        def scale(self) -> MelScale:
            """How a picture is made and played."""
            return MelScale(
                self.sampling_rate, self.fft, self.hop, self.bins, self.low, self.high, self.floor, self.ceiling, self.level
            )

        @model_validator(mode="after")
        def _scale_is_possible(self) -> Audio.Settings:
            _ = self.scale
            return self

    reads_path: ClassVar[bool] = True

    @classmethod
    def fetch(cls, settings: Settings, out: Path, seed: int, workspace: Path) -> None:
        folder = workspace / settings.path

        def pack(walk: Walk, out: Path) -> None:
            skip, similar = settings.other_files == "skip", settings.similar_names == "accept"
            found = list_recordings(walk, skip=skip, similar=similar)
            walk.warn()
            write_pictures(found, settings, out, walk.faults)

        pack_unchanged(lambda: Walk(folder, Faults(folder), settings.follow_links), pack, out)


class Reader:
    """Read recordings as pictures; ``rates``, ``silent`` and ``clipped`` count what the log reports."""

    def __init__(self, settings: Audio.Settings):
        self.settings, self.scale = settings, settings.scale
        self.rates: Counter[int] = Counter()
        self.silent = self.clipped = self.pixels = 0

    def pictures(self, recording: Recording) -> np.ndarray:
        """uint8 [n, bins, frames]; n = 0 for a silent recording that is skipped. ValueError for one that cannot be read."""
        settings = self.settings
        try:
            signal, rate = read_sound(recording.path)
            self._count(rate)
            signal = resampled(signal, rate, settings.sampling_rate)
            signal = trimmed(signal, length=settings.fft, hop=settings.hop, below=settings.trim)
        except Silence:
            if settings.silent == "error":
                raise
            self.silent += 1
            return np.zeros((0, settings.bins, settings.frames), np.uint8)
        picture = picture_of(signal, self.scale)
        self.clipped += int((picture == 255).sum())
        self.pixels += picture.size
        return cut(picture, settings.frames, settings.frames_hop or settings.frames)

    def _count(self, rate: int) -> None:
        self.rates[rate] += 1
        if rate != self.settings.sampling_rate and self.settings.other_rates == "error":
            hint = f"sampling_rate is {self.settings.sampling_rate}, and other_rates: resample converts the others"
            raise ValueError(f"a recording of {rate} Hz; {hint}")

    def report(self, where: str) -> None:
        """Log rates that were converted, silence that was left out, and pictures brighter than their range."""
        others = {rate: count for rate, count in sorted(self.rates.items()) if rate != self.settings.sampling_rate}
        for rate, count in others.items():
            empty = f"; nothing above {rate // 2} Hz is in them" if rate // 2 < self.settings.high else ""
            log.warning("%s: %d of %d recordings resampled from %d Hz%s", where, count, self.rates.total(), rate, empty)
        if self.silent:
            log.warning("%s: %d silent recordings left out", where, self.silent)
        if self.clipped > CLIPPED * self.pixels:
            share = 100 * self.clipped / self.pixels
            log.warning("%s: %.1f %% of the pixels are above the ceiling of %g dB", where, share, self.settings.ceiling)


def write_pictures(found: Recordings, settings: Audio.Settings, out: Path, faults: Faults) -> None:
    """Write the dataset. ValueError with all recordings that cannot be read."""
    reader = Reader(settings)
    pictures = {split: [_read(reader, recording, faults) for recording in part] for split, part in found.items()}
    faults.check()
    reader.report(str(faults.where))
    for split, windows in pictures.items():
        if not sum(map(len, windows)):
            raise ValueError(f"{faults.where}: nothing but silence" + (f" in the {split} split" if split != "all" else ""))
    named = {split: _columns(part, settings) for split, part in found.items()}
    classes = {name: _distinct(names[name] for names in named.values()) for name in next(iter(named.values()))}
    classes["sound"] = [settings.scale.name]
    entries = {}
    for split, windows in pictures.items():
        counts = [len(part) for part in windows]
        columns = {"image": np.concatenate(windows), "sound": np.zeros(sum(counts), np.int64)}
        for name, values in named[split].items():
            places = {value: index for index, value in enumerate(classes[name])}
            columns[name] = np.repeat(np.array([places[value] for value in values], np.int64), counts)
        entries[split] = write_arrays(out, split, columns)
    write_index(out, "arrays", entries, classes)


def _columns(part: list[Recording], settings: Audio.Settings) -> dict[str, list[str]]:
    """Column -> the class name of each recording."""
    columns: dict[str, list[str]] = {settings.column: [recording.speaker for recording in part]}
    words = [recording.word for recording in part if recording.word is not None]
    columns |= {"label" if settings.column == "domain" else "word": words} if words else {}
    return columns | {"group": [recording.name for recording in part]}


def _distinct(parts: Iterable[list[str]]) -> list[str]:
    return sorted({name for part in parts for name in part}, key=str.encode)


def _read(reader: Reader, recording: Recording, faults: Faults) -> np.ndarray:
    try:
        return reader.pictures(recording)
    except ValueError as error:
        faults.add(f"{recording.path}: {error}")
        return np.zeros((0, reader.settings.bins, reader.settings.frames), np.uint8)
