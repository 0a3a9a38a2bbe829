"""Read, prepare and score new images in batches; count and name those that cannot be read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from components.registry.monitor.champion import Champion
from components.registry.monitor.confidence import answers
from components.registry.monitor.incoming import Unreadable, read, shown, stamp_of
from components.registry.monitor.score_database import Image, ScoreDatabase

BATCH, BUDGET = 256, 2**24  # maximum images and pixel values per batch: memory does not grow with the folder
NAMED = 20  # broken images that are named

Batch = dict[bytes, tuple[Image, dict[str, np.ndarray]]]  # digest -> image, the model's inputs


@dataclass
class Tally:
    """Counts of a scan: files ``found``; images ``scored`` now, or ``seen`` before (by content).

    ``broken``: unreadable, the first ``NAMED`` with name and reason; ``missing``: gone before they could be read.
    """

    found: int = 0
    scored: int = 0
    seen: int = 0
    broken: int = 0
    missing: int = 0
    broken_names: list[str] = field(default_factory=list)

    def add_broken(self, name: str, fault: str) -> None:
        """Count an unreadable image, and name it if it is one of the first."""
        self.broken += 1
        if self.broken <= NAMED:
            self.broken_names.append(f"{name}: {fault}")


@dataclass
class Scan:
    """One scan of the new images by the champion; ``base``: folder to which displayed names are relative."""

    champion: Champion
    database: ScoreDatabase
    base: bytes
    tally: Tally = field(default_factory=Tally)

    def take_in(self, paths: Iterable[bytes]) -> Tally:
        """Score the new images, and again those that a former champion scored and no report contains."""
        self._each(self.database.outdated())
        self.tally = Tally(scored=self.tally.scored)  # counted again below, or moved
        self._each(paths)
        self.tally.missing += self.database.forget_outdated()
        self.database.commit()
        return self.tally

    def _each(self, paths: Iterable[bytes]) -> None:
        size = math.prod(self.champion.preparation.image_size) * self.champion.preparation.channels
        batch: Batch = {}
        for path in paths:
            self.tally.found += 1
            self._look(path, batch)
            if len(batch) == max(1, min(BATCH, BUDGET // size)):
                self._score(batch)
        self._score(batch)

    def _look(self, path: bytes, batch: Batch) -> None:
        """Add the file to the batch if it is a new image, else count it."""
        try:
            stamp = stamp_of(path)
            if known := self.database.at(path, stamp):
                return self._count(known, path)
            data = read(path)
        except FileNotFoundError:
            self.tally.missing += 1
            return None
        except Unreadable as error:
            return self.tally.add_broken(shown(path, self.base), str(error))
        digest = hashlib.sha256(data).digest()
        if known := self.database.of(digest):
            self.database.move(digest, path, stamp)
            return self._count(known, path)
        if digest in batch:
            self.tally.seen += 1
            return None
        image = Image(digest, path, stamp, self.champion.model)
        try:
            batch[digest] = image, self.champion.inputs(data)
        except ValueError as error:
            self._break(image, str(error))
        return None

    def _count(self, known: Image, path: bytes) -> None:
        if known.fault is None:
            self.tally.seen += 1
        else:
            self.tally.add_broken(shown(path, self.base), known.fault)

    def _break(self, image: Image, fault: str) -> None:
        self.database.add([replace(image, fault=fault)])
        self.tally.add_broken(shown(image.path, self.base), fault)

    def _score(self, batch: Batch) -> None:
        """Score the batch, commit it to the database and empty it."""
        if batch:
            images, inputs = zip(*batch.values(), strict=True)
            stacked = {name: np.stack([one[name] for one in inputs]) for name in inputs[0]}
            outputs = answers(self.champion.served, stacked, self.champion.threshold)
            columns = [outputs[name].tolist() for name in ("ood_score", "is_ood", "class_name", "probability")]
            for image, score, *rest in zip(images, *columns, strict=True):
                if not np.isfinite(score):
                    self._break(image, f"the champion scores it {score}")
                    continue
                self.database.add([replace(image, score=score, rejected=rest[0], class_name=rest[1], probability=rest[2])])
                self.tally.scored += 1
        self.database.commit()
        batch.clear()
