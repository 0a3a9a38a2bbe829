"""Pack again if files come, go or change while they are packed: DVC's hash and the archive are then of the same files."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from components.stages.fetch.files.walk import Walk

ATTEMPTS = 3

log = logging.getLogger(__name__)


def pack_unchanged(new_walk: Callable[[], Walk], pack: Callable[[Walk, Path], None], out: Path) -> None:
    """Call ``pack`` with a new walk, which it reads the files by, and the empty ``out`` until nothing changed meanwhile.

    ValueError, worth a retry later, after ``ATTEMPTS`` attempts.
    """
    names = ""
    for _ in range(ATTEMPTS):
        walk, failure = new_walk(), None
        try:
            pack(walk, out)
        except (OSError, ValueError) as error:
            failure = error
        changed = walk.changed()
        if not changed and failure:
            raise failure
        if not changed:
            return
        names = ", ".join(sorted(changed)[:5])
        log.warning("%s: files came, went or changed while they were packed (%s)", walk.root, names)
        _empty(out)
    fault = f"{walk.root}: files came, went or changed while they were packed, {ATTEMPTS} times in a row ({names})"
    raise ValueError(f"{fault}; fetch again when nothing writes there") from OSError(errno.EAGAIN, "files change")


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
