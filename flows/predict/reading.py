"""The model and the pictures of a command."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.core.config.strict import SettingsError
from components.versions import check_versions
from flows.project import Project

if TYPE_CHECKING:
    import numpy as np

    from components.registry.predict.model import Model
    from components.registry.predict.pictures import Picture


@contextmanager
def loaded_model(project: Project, run: str, version: int | None, *, local: bool) -> Iterator[Model]:
    """Load the run's model; what MLflow downloads is removed at the end. SettingsError if there is none."""
    from components.registry.predict.model import find_model
    from components.registry.tracking import TrackingUnavailable

    before = tempfile.tempdir
    check_versions(project.root)
    with tempfile.TemporaryDirectory(prefix="darkroom-predict-") as scratch:
        tempfile.tempdir = scratch
        try:
            model = find_model(project.workspace, run, version, local=local)
            tempfile.tempdir = before
            print(f"{model.name}: {model.origin}", flush=True)
            yield model
        except TrackingUnavailable as error:
            raise SettingsError(f"{error}; --local needs no server") from None
        finally:
            tempfile.tempdir = before


class Reading:
    """The pictures of a command: how many were ``found`` and are ``broken``; broken ones are named on standard error."""

    def __init__(self, places: list[str]) -> None:
        from components.registry.predict.pictures import find_pictures

        self.found = self.broken = 0
        self._pictures = find_pictures(places)

    def __iter__(self) -> Iterator[Picture]:
        from tqdm import tqdm

        for picture in tqdm(self._pictures, unit=" pictures", disable=not sys.stderr.isatty(), leave=False):
            self.found += 1
            yield picture

    def report(self, picture: Picture, fault: str) -> None:
        from tqdm import tqdm

        from components.registry.predict.pictures import printable

        self.broken += 1
        tqdm.write(f"broken: {printable(picture.name)}: {printable(fault)}", file=sys.stderr)

    def conclude(self, done: str = "predicted") -> int:
        """Print the counts and return the exit code. ``done``: what was done. SettingsError if there was no picture."""
        if not self.found:
            raise SettingsError("WHAT: no picture is there")
        print(f"{self.found - self.broken:,} of {self.found:,} pictures {done}, {self.broken:,} broken")
        return 1 if self.broken == self.found else 0


def decoded(model: Model, reading: Reading, size: int) -> Iterator[tuple[list[Picture], np.ndarray]]:
    """Yield batches of the pictures as the model takes them."""
    from components.registry.predict.decoding import batches

    assert model.decode is not None  # only a generator has none
    return batches(reading, model.decode, size, reading.report)
