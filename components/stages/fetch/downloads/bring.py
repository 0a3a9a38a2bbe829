"""Get a published file from the mirror if there is one, else from its URLs in order.

``DATA_MIRROR`` is a folder (absolute, or relative to the repository's root) or an http(s) URL. It may have a file as
``<dataset folder>/<file>`` or ``<file>``, plain or compressed (``.gz``, ``.xz``). A copy with a wrong checksum is logged, and
the next place is tried.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from components.core.errors import is_transient, redacted
from components.core.settings import ROOT
from components.stages.fetch.downloads.published import SUFFIXES, Published, download, take
from components.stages.fetch.downloads.transfer import NotThere

log = logging.getLogger(__name__)


def bring(file: Published, target: Path) -> None:
    """Get the file and write it to ``target``. ValueError lists the error of every place, and DATA_MIRROR."""
    faults: list[Exception] = []
    if from_mirror(file, target, faults):
        return
    for url in file.urls:
        try:
            download(url, file, "", target)
            return
        except (OSError, ValueError) as error:
            _note(faults, error)
    mirror = os.environ.get("DATA_MIRROR")
    hint = (
        f"DATA_MIRROR={mirror} was asked first"
        if mirror
        else "DATA_MIRROR is not set; it can name a folder that holds the file"
    )
    reasons = "; ".join(map(str, faults)) or "no address is known"
    raise ValueError(f"{file.folder}/{file.name} cannot be had: {reasons} ({hint})") from next(
        filter(is_transient, faults), None
    )


def from_mirror(file: Published, target: Path, faults: list[Exception]) -> bool:
    """Copy the file from the mirror to ``target`` and return whether it was there; append errors to ``faults``.

    ValueError if DATA_MIRROR itself is invalid.
    """
    mirror = os.environ.get("DATA_MIRROR", "")
    if not mirror:
        return False
    remote = mirror.startswith(("http://", "https://"))
    folder = Path() if remote else _mirror_folder(mirror)
    for place, suffix in _places(file):
        try:
            if remote:
                download(f"{mirror.rstrip('/')}/{quote(place)}", file, suffix, target)
            else:
                take(folder / place, str(folder / place), file, suffix, target)
            return True
        except (NotThere, FileNotFoundError):
            continue
        except ValueError as error:
            _note(faults, error)
        except OSError as error:  # no response: the other places would also time out
            _note(faults, error)
            break
    return False


def _places(file: Published) -> Iterator[tuple[str, str]]:
    for place in (f"{file.folder}/{file.name}", file.name):
        for suffix in SUFFIXES:
            yield place + suffix, suffix


def mirror_folder() -> Path | None:
    """Return DATA_MIRROR if it is a folder; None if it is not set, or a URL. ValueError if it is invalid."""
    mirror = os.environ.get("DATA_MIRROR", "")
    return None if not mirror or mirror.startswith(("http://", "https://")) else _mirror_folder(mirror)


def _mirror_folder(mirror: str) -> Path:
    folder = ROOT / Path(mirror).expanduser()
    if not folder.is_dir():
        raise ValueError(f"DATA_MIRROR={mirror}: {folder} is no folder; allowed: a folder, or an http or https address")
    return folder


def _note(faults: list[Exception], error: Exception) -> None:
    faults.append(error)
    log.warning("%s", redacted(str(error)))
