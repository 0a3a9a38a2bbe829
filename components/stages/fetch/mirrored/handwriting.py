"""Handwritten and printed characters: a mirror's folder ``[{train,test}/]<character>/*.png`` and an installed font.

The folder has scans such as CASIA-HWDB's (Liu and others, ICDAR 2011): dark on white, of varying size.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from components.stages.fetch.dataset_files import write_arrays, write_index
from components.stages.fetch.downloads.published import checksum
from components.stages.fetch.files.pack import Classes
from components.stages.fetch.mirrored.folders import MirroredSettings, open_folder
from components.stages.fetch.mirrored.fonts import Face, find_face, require_glyphs
from components.stages.fetch.mirrored.ink import read_scans
from components.stages.fetch.mirrored.printing import draw_poses, print_character

DOMAINS = ("printed", "handwritten")
NAMED = 5  # in an error

log = logging.getLogger(__name__)


class Handwriting:
    """Handwriting: grey [N, size, size], ink bright on 0; label = character, domain = printed or handwritten; own splits.

    The prints of a character are divided over the splits in proportion to the numbers of scans.
    """

    class Settings(MirroredSettings):
        """``font``: an installed family, or a font file; ``font_sha256``: checksum of its file, or none to accept any edition.

        ``image_size`` in pixels; ``samples``: prints per character; ``jitter`` 0 (exact) to 1, see printing.py.
        """

        font: str = Field(min_length=1)
        font_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
        image_size: int = Field(ge=8, le=512, description="side in pixels")
        samples: int = Field(ge=1, le=10_000, description="prints per character")
        jitter: float = Field(ge=0, le=1, description="of place, size and angle; 0: exact")

        @model_validator(mode="after")
        def _samples_differ(self) -> Handwriting.Settings:
            if self.samples > 1 and self.jitter == 0:
                raise ValueError(f"samples {self.samples} with jitter 0 would draw the same image again; allowed: samples 1")
            return self

    @staticmethod
    def fetch(settings: Handwriting.Settings, out: Path, seed: int, workspace: Path) -> None:
        face = find_face(settings.font, workspace, settings.font_sha256)
        splits = open_folder(settings)
        characters = _characters(next(iter(splits.values())))
        require_glyphs(face, characters, settings.font)
        log.warning("font: %s, SHA-256 %s", face.path.name, checksum(face.path, "0" * 64))
        scans = {split: read_scans(classes, settings.image_size) for split, classes in splits.items()}
        prints = _prints(settings, face, characters, seed)
        bounds = _bounds({split: sum(map(len, images)) for split, images in scans.items()}, settings.samples)
        entries = {split: _write(out, split, [printed[bounds[split]] for printed in prints], scans[split]) for split in splits}
        write_index(out, "arrays", entries, {"label": characters, "domain": DOMAINS})


def _characters(classes: Classes) -> list[str]:
    if longer := [name for name in classes if len(name) != 1]:
        raise ValueError(f"folders are named by one character each, found: {', '.join(longer[:NAMED])}")
    return list(classes)


def _prints(settings: Handwriting.Settings, face: Face, characters: Sequence[str], seed: int) -> list[np.ndarray]:
    """Draw the prints, uint8 [samples, side, side] per character."""
    poses = {character: draw_poses(character, settings.samples, seed) * settings.jitter for character in characters}
    side = settings.image_size
    return [np.stack([print_character(face, character, side, pose) for pose in poses[character]]) for character in characters]


def _bounds(scans: dict[str, int], samples: int) -> dict[str, slice]:
    """Return split -> slice of the prints, in proportion to ``scans``. ValueError if a split would get none."""
    ends = np.rint(np.cumsum(list(scans.values())) / sum(scans.values()) * samples).astype(int).tolist()
    bounds = {split: slice(start, end) for split, start, end in zip(scans, [0, *ends], ends, strict=False)}
    if empty := [split for split, part in bounds.items() if part.start == part.stop]:
        raise ValueError(f"samples: {samples} prints a character leave none for {', '.join(empty)}")
    return bounds


def _write(out: Path, split: str, prints: list[np.ndarray], scans: list[np.ndarray]) -> dict[str, str]:
    """Write a split: per character its prints, then its scans."""
    parts = [part for pair in zip(prints, scans, strict=True) for part in pair]
    lengths = [len(part) for part in parts]
    columns = {
        "image": np.concatenate(parts),
        "label": np.repeat(np.arange(len(parts)) // 2, lengths).astype(np.int64),
        "domain": np.repeat(np.arange(len(parts)) % 2, lengths).astype(np.int64),
    }
    return write_arrays(out, split, columns)
