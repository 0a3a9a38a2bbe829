"""Warnings about readable pictures that may not be what their owner thinks: several frames, 12 bits in a file of 16."""

from __future__ import annotations

import logging

from components.serving.colour import SUSPECT, WHITE_16
from components.serving.decoding import Picture
from components.stages.augment.policy.policies import ViewSettings

NAMED = 5  # pictures that a warning names

log = logging.getLogger(__name__)


class Notes:
    """What was noticed while the pictures of a view were decoded; ``warn`` says it in a line of its own."""

    def __init__(self, settings: ViewSettings):
        self._settings = settings
        self._frames: list[str] = []
        self._dark: list[str] = []
        self._maximum = 0  # grey value of the dark pictures

    def add(self, name: str, picture: Picture) -> None:
        """Look at one decoded picture."""
        if picture.several_frames:
            self._frames.append(name)
        if picture.grey_maximum is not None and picture.grey_maximum < SUSPECT and self._settings.levels is None:
            self._dark.append(name)
            self._maximum = max(self._maximum, picture.grey_maximum)

    def warn(self) -> None:
        """Log a warning for each kind of picture."""
        dataset = self._settings.dataset
        if self._frames:
            log.warning("%s: %s several frames or pages, of which the first is used: %s", dataset, *_counted(self._frames))
        if self._dark:
            count, names = _counted(self._dark)
            fault = (
                f"{count} 16 bits a pixel and no value above {self._maximum} of {WHITE_16}, so that they become nearly black"
            )
            white = 2 ** max(self._maximum, 1).bit_length() - 1
            log.warning("%s: %s: %s; `levels: [0, %d]` in the view uses the whole range", dataset, fault, names, white)


def _counted(names: list[str]) -> tuple[str, str]:
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} pictures have" if len(names) > 1 else "1 picture has", ", ".join(names[:NAMED]) + more
