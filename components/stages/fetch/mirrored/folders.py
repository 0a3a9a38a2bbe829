"""Open a folder of a mirror by name, and verify its checksum."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path

from pydantic import Field

from components.core.config.params import DatasetSettings
from components.stages.fetch.downloads.bring import mirror_folder
from components.stages.fetch.files.pack import Classes
from components.stages.fetch.folder import FORM, read_splits

log = logging.getLogger(__name__)


class MirroredSettings(DatasetSettings):
    """``folder``: its name in the mirror; ``sha256``: its ``sum_of``, so that new images require a change of params.yaml.

    For a folder of your own, set DATA_MIRROR to its parent; the error message gives its checksum.
    """

    folder: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def open_folder(settings: MirroredSettings) -> dict[str, Classes]:
    """Return split -> class -> images. ValueError if the mirror lacks the folder or its checksum differs."""
    mirror = mirror_folder()
    if mirror is None or not (mirror / settings.folder).is_dir():
        fault = f"{settings.folder} is only in a mirror: DATA_MIRROR names no folder that holds it"
        raise ValueError(f"{fault} (as {FORM.replace('<path>', settings.folder)})")
    skipped: Counter[str] = Counter()
    splits = read_splits(mirror / settings.folder, skipped)
    checksum = sum_of(splits)
    if checksum != settings.sha256:
        raise ValueError(f"{mirror / settings.folder}: the sum is {checksum}, expected {settings.sha256}")
    if skipped:
        log.warning("%s: %d files that are no images are skipped", settings.folder, skipped.total())
    return splits


def sum_of(splits: dict[str, Classes]) -> str:
    """Compute the SHA-256 over "<split>/<class>/<file>" and the SHA-256 of each image, in the byte order of the names."""
    images = {
        f"{split}/{name}/{path.name}".encode(): path
        for split, classes in splits.items()
        for name, paths in classes.items()
        for path in paths
    }
    digest = hashlib.sha256()
    for name in sorted(images):
        digest.update(name + b"\n" + hashlib.sha256(Path(images[name]).read_bytes()).digest())
    return digest.hexdigest()
